"""Where a bundle is to run: a Python version on a platform, in the words of pip and of requirement markers."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that arstore supports."""

_MANYLINUX = (*(f"manylinux_2_{minor}" for minor in range(28, 16, -1)), "manylinux2014", "manylinux_2_12")
_OLDER = ("manylinux2010", "manylinux_2_5", "manylinux1")
_MUSLLINUX = ("musllinux_1_2", "musllinux_1_1")

PLATFORMS = {
    f"{libc}-{machine}": tuple(f"{tag}_{machine}" for tag in tags)
    for libc, tags in (("linux", (*_MANYLINUX, *_OLDER)), ("musl", _MUSLLINUX))
    for machine in ("x86_64", "aarch64")
}
"""For each platform, the platform tags of the wheels that it can use, best first."""


class BundleError(Exception):
    """The bundle cannot be made; the text says why."""


@dataclass(frozen=True)
class Target:
    """A version of CPython, such as 3.13, on one of `PLATFORMS`."""

    python: str
    platform: str

    @property
    def tag(self) -> str:
        """The name of this Python in wheels: cp313."""
        return "cp" + self.python.replace(".", "")

    @property
    def machine(self) -> str:
        """The processor, in the kernel's words."""
        return self.platform.partition("-")[2]

    def is_here(self) -> bool:
        """Whether this process runs on it."""
        return self.python == this_python() and self.platform == this_platform()

    def pip_options(self) -> list[str]:
        """Return the options with which `pip download` gets this target's wheels."""
        options = ["--implementation", "cp", "--python-version", self.python]
        for abi in (self.tag, "abi3", "none"):
            options += ["--abi", abi]
        for tag in PLATFORMS[self.platform]:
            options += ["--platform", tag]
        return options

    def markers(self) -> dict[str, str]:
        """Return the values of environment markers on this target (the specification "Dependency specifiers")."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }


def this_python() -> str:
    """The version of Python that runs this process, such as 3.13."""
    return "{}.{}".format(*sys.version_info)


def this_platform() -> str:
    """The name of this machine's platform."""
    try:
        libc = "linux" if os.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (ValueError, OSError):
        libc = "musl"
    return f"{libc}-{platform.machine()}"


def targets(pythons: list[str], name: str) -> list[Target]:
    """Return one target for each version in *pythons* on the platform *name*. Raises BundleError."""
    for python in pythons:
        if python not in PYTHONS:
            raise BundleError(f"--python {python}: not one of {', '.join(PYTHONS)}")
    if name not in PLATFORMS:
        raise BundleError(f"--platform {name}: not one of {', '.join(PLATFORMS)}")
    return [Target(python, name) for python in sorted(set(pythons), key=PYTHONS.index)]
