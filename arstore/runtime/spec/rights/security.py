"""Rights of a container as values: `--security-opt`, `--cap-add`, `--cap-drop` and `--privileged`.

The syntax is docker's and podman's. `label=` is accepted without effect, because arstore gives containers no SELinux
label. `apparmor=PROFILE` needs a host with AppArmor. An image cannot ask for any of this.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.pattern import pattern
from arstore.runtime.spec.rights.capabilities import granted, parse_capability
from arstore.runtime.spec.sizes import refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

UNCONFINED = "unconfined"
_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_PROC_OPTION = pattern(r"hidepid=[a-z0-9]{1,12}|gid=[0-9]{1,10}|subset=pid")
_HINT = (
    "use seccomp=FILE|unconfined|default, no-new-privileges, unmask=ALL|PATH[:PATH...], mask=PATH[:PATH...], "
    "systempaths=unconfined, proc-opts=OPTION[,OPTION...], apparmor=PROFILE|unconfined or label=disable"
)


class Security(NamedTuple):
    """The rights of a container. `seccomp` is "" for the default profile, `unconfined`, or the path of a file."""

    added: tuple[str, ...] = ()
    """Capabilities as `capabilities.parse_capability` returns them."""
    dropped: tuple[str, ...] = ()
    privileged: bool = False
    """All capabilities and devices, no seccomp, nothing masked."""
    no_new_privileges: bool = False
    seccomp: str = ""
    unmasked: tuple[str, ...] = ()
    """Paths that are neither masked nor read-only; `ALL` for all of them."""
    masked: tuple[str, ...] = ()
    """Additional masked paths."""
    proc_options: tuple[str, ...] = ()
    """Options of the container's /proc, such as `hidepid=2` (proc(5))."""
    apparmor: str = ""
    """An AppArmor profile that the host has loaded; "" for none."""

    def capabilities(self, available: int) -> tuple[str, ...]:
        """Return the container's capabilities, out of the bit mask *available*."""
        return granted(self.added, self.dropped, available, self.privileged)

    def shows(self, path: str) -> bool:
        """Whether *path*, which is usually masked or read-only, is neither."""
        return self.privileged or "ALL" in self.unmasked or any(_covers(one, path) for one in self.unmasked)


def parse_security(
    options: Sequence[str], added: Sequence[str] = (), dropped: Sequence[str] = (), privileged: bool = False
) -> Security:
    """Return the rights in these options of the command line; a later option wins. Raises UsageError."""
    seccomp, no_new_privileges, apparmor = "", False, ""
    masked: list[str] = []
    unmasked: list[str] = []
    proc_options: list[str] = []
    for text in options:
        name, separator, value = text.partition("=") if "=" in text else text.partition(":")
        if name == "seccomp" and value:
            # The launcher reads the file later, from another directory.
            kinds = {"default": "", UNCONFINED: UNCONFINED}
            seccomp = kinds[value] if value in kinds else os.path.abspath(value)
        elif name == "no-new-privileges" and value in {"", "true", "false"}:
            no_new_privileges = value != "false"
        elif name in {"mask", "unmask"} and value:
            (masked if name == "mask" else unmasked).extend(_paths(value, text))
        elif (name, value) == ("systempaths", UNCONFINED):
            unmasked.append("ALL")
        elif name == "proc-opts" and all(map(_PROC_OPTION.fullmatch, value.split(","))):
            proc_options += value.split(",")
        elif name == "apparmor" and value:
            apparmor = _apparmor(value, text)
        elif not (name == "label" and separator):
            from arstore.oci.document import shown

            raise UsageError(shown(text), "not a security option", _HINT)
    adds, drops = (tuple(dict.fromkeys(map(parse_capability, words))) for words in (added, dropped))
    if both := set(adds).intersection(drops):
        raise refused(min(both), "the capability cannot be added and dropped")
    return Security(
        added=adds,
        dropped=drops,
        privileged=privileged,
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        masked=tuple(masked),
        unmasked=tuple(unmasked),
        proc_options=tuple(proc_options),
        apparmor=apparmor,
    )


def _covers(wanted: str, path: str) -> bool:
    """Whether *wanted*, a path in which `*`, `?` and `[...]` stand for characters of one name, means *path*."""
    if not {"*", "?", "["}.intersection(wanted):
        return wanted == path
    from fnmatch import fnmatchcase

    names, parts = path.split("/"), wanted.split("/")
    return len(names) == len(parts) and all(map(fnmatchcase, names, parts))


def _apparmor(profile: str, text: str) -> str:
    """Return the profile, "" for none. Raises UsageError if the host has no AppArmor."""
    if profile == UNCONFINED:
        return ""
    try:
        with open(_APPARMOR, encoding="ascii") as file:
            enabled = file.read(1) == "Y"
    except OSError:
        enabled = False
    if not enabled:
        raise refused(text, "this host has no AppArmor", "leave it out, or use apparmor=unconfined")
    return profile


def _paths(value: str, text: str) -> list[str]:
    paths = value.split(":")
    if any(not path.startswith("/") and path != "ALL" for path in paths):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "every path must be absolute", _HINT)
    return paths
