"""Search for an OCI runtime by trial: an installed runtime may not work with this kernel, control groups or sandbox.

A trial runs the host's `true` in a container made like every other, whose root is in memory (`trial_root`). If the
runtime fails because of the seccomp profile, it is tried again without one. The result is written atomically to
`<runroot>/runtime.json`, with the facts that it depends on: boot, mounted cgroups, program. Failures are not saved,
because they may be temporary.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.disk.cgroups import settle_parent
from arstore.disk.delegation import parent_group
from arstore.errors import (
    ArstoreError,
    NoSpaceError,
    PermissionDeniedError,
    PipelineTimeoutError,
    RuntimeMissingError,
    from_os_error,
)
from arstore.linux.files.writing import replace_file
from arstore.linux.isolation import capability, user_namespace
from arstore.linux.kernel import lacking
from arstore.linux.mounting.mountinfo import read_mounts
from arstore.linux.process import boot_id
from arstore.mounts.leftovers import leftovers, passing_name, remove_leftover
from arstore.runtime.driver import OciRuntime
from arstore.runtime.spec.bundle import require_text
from arstore.runtime.spec.rights import seccomp
from arstore.runtime.trial_root import mount_trial_root
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATES = ("crun", "runc", "youki")
"""Runtimes in the order of trial: the fastest to start comes first."""

CACHE_NAME = "runtime.json"

_MORE_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PATIENCE = 120.0
"""Seconds for a trial: it takes less than one, but took 20 on a machine with 40 other processes to run."""

_TRIAL = "trial"
_CACHE_LIMIT = 1 << 16
_HINT = "`apt install runc` or `apt install crun`"
_NO_SECCOMP = "applies no seccomp profile here, so containers run without one"


class _Program(NamedTuple):
    """A program at a moment; equal as long as the file was not replaced."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def at(cls, path: str) -> _Program:
        about = os.stat(path)
        return cls(path, about.st_size, about.st_mtime_ns)


def find_runtime(
    explicit: str | None, runroot: str, *, cgroups: bool = True, timeout: float | None = None
) -> OciRuntime:
    """Return the runtime *explicit* (a path, or a name in PATH), or else the first of CANDIDATES that works.

    Without *cgroups*, the runtime makes containers without their own control groups. *timeout* limits all trials
    together, in seconds. A signal that ends this process, or raises in it, ends a trial at once.
    Must be called without other threads and without an open LMDB environment, because a trial forks. Raises
    RuntimeMissingError with the reason of each runtime, PermissionDeniedError if this process may run no container,
    PipelineTimeoutError after *timeout*, NoSpaceError if a trial finds no space, HostError for a *runroot* that
    runtimes cannot use.
    """
    cgroups = cgroups and parent_group() is not None
    paths = installed((explicit,) if explicit else CANDIDATES)
    cached = _cached(runroot, paths, cgroups)
    if cached is not None:
        return cached
    require_text(runroot)
    if why := lacking(capability.CAP_SYS_ADMIN):
        # No runtime can do without it, so it is not the runtime that is missing.
        raise PermissionDeniedError("containers", why)
    reasons: list[str] = []
    deadline = None if timeout is None else time.monotonic() + timeout
    for path in paths:
        try:
            found = _try_runtime(OciRuntime(path, cgroups=cgroups), runroot, deadline)
        except NoSpaceError:
            # The disk is full, which does not depend on the runtime.
            raise
        except ArstoreError as error:
            if deadline is not None and time.monotonic() >= deadline:
                raise PipelineTimeoutError(path, f"did not run a trial container in {timeout:g} seconds") from error
            reasons.append(f"{os.path.basename(path)}: {error.why}")
        except OSError as error:
            told = from_os_error(error)
            if isinstance(told, NoSpaceError):
                raise told from error
            reasons.append(f"{os.path.basename(path)}: {told.why}")
        else:
            _remember(runroot, found)
            return found
    what = explicit or "OCI runtime"
    if not paths:
        why = "not found" if explicit else f"none of {', '.join(CANDIDATES)} is installed"
        raise RuntimeMissingError(what, why, "" if explicit else _HINT)
    why = f"{'does not work' if explicit else 'none works'} here ({'; '.join(reasons)})"
    needs_crun = not cgroups and user_namespace.is_initial()
    hint = "install crun: runc does not support --cgroups=disabled" if needs_crun else ""
    raise RuntimeMissingError(what, why, hint)


def installed(names: tuple[str, ...] = CANDIDATES) -> list[str]:
    """Return the paths of those of *names* (paths, or names in PATH) that are programs, in this order."""
    places = [p for p in os.environ.get("PATH", os.defpath).split(":") if p.startswith("/")]
    found: list[str] = []
    for name in names:
        tries = [os.path.abspath(name)] if "/" in name else [os.path.join(p, name) for p in (*places, *_MORE_PLACES)]
        found.extend([path for path in tries if os.path.isfile(path) and os.access(path, os.X_OK)][:1])
    return found


def remembered(runroot: str, paths: list[str]) -> OciRuntime | None:
    """Return the one of *paths* that has worked in this boot, by an earlier search; nothing is tried."""
    return _cached(runroot, paths, cgroups=parent_group() is not None)


def _try_runtime(runtime: OciRuntime, runroot: str, deadline: float | None) -> OciRuntime:
    """Return the runtime if it has run `true` before *deadline*. Raises ArstoreError or OSError otherwise."""
    if not seccomp.supported_by_kernel():
        note = "the kernel has no seccomp, so containers run without it"
        return _trial(runtime._replace(seccomp=False, note=note), runroot, deadline)
    try:
        return _trial(runtime, runroot, deadline)
    except ArstoreError as error:
        if "seccomp" not in error.why.lower():
            raise
    return _trial(runtime._replace(seccomp=False, note=f"{runtime.name} {_NO_SECCOMP}"), runroot, deadline)


def _trial(runtime: OciRuntime, runroot: str, deadline: float | None) -> OciRuntime:
    from arstore.oci.config import ImageConfig
    from arstore.oci.platform import Platform
    from arstore.runtime.lifecycle.launch import Launch
    from arstore.runtime.lifecycle.launcher import run
    from arstore.runtime.spec.options import RunOptions

    config = ImageConfig(raw=b"", platform=Platform("linux", ""), diff_ids=())
    with _scratch(runroot) as directory, _quiet():
        # A trial needs no grace period: when its time is over, it is killed.
        options = RunOptions(args=(_true(),), cgroups=runtime.cgroups, stop_timeout=0)
        name = os.path.basename(directory)
        if runtime.cgroups:
            settle_parent(directory)
        patience = _PATIENCE if deadline is None else max(0.0, min(_PATIENCE, deadline - time.monotonic()))
        launch = Launch(
            name, directory, config, options, runtime, mount_trial_root, timeout=patience, passes_signals=False
        )
        status = run(launch).status
    if status != 0:
        raise RuntimeMissingError(runtime.path, f"its trial ended with status {status}")
    return runtime


def _true() -> str:
    """Return the path of a `true` program, which may be outside of the container's PATH, the default one."""
    return next((path for path in (f"{place}/true" for place in _MORE_PLACES) if os.path.exists(path)), "true")


@contextmanager
def _scratch(runroot: str) -> Iterator[str]:
    import shutil

    os.makedirs(runroot, mode=0o700, exist_ok=True)
    for name in leftovers(runroot):
        remove_leftover(runroot, name)
    directory = os.path.join(runroot, passing_name(_TRIAL))
    os.mkdir(directory, 0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Redirect descriptors 1 and 2 to /dev/null: `true` prints nothing, but a dynamic linker may."""
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for number, fd in enumerate(saved, 1):
            os.dup2(fd, number)
            os.close(fd)
        os.close(null)


def _surroundings() -> list[str]:
    """Return the facts besides the program that a result depends on: this boot, and the mounted control groups."""
    groups = [f"{m.mount_point} {m.fs_type}" for m in read_mounts() if m.fs_type in {"cgroup", "cgroup2"}]
    return [boot_id(), *sorted(groups)]


def _cached(runroot: str, paths: list[str], cgroups: bool) -> OciRuntime | None:
    """Return the saved result, if it is among *paths* and neither the boot nor the program has changed."""
    try:
        with open(os.path.join(runroot, CACHE_NAME), "rb") as file:
            known = json.loads(file.read(_CACHE_LIMIT))
        if known["surroundings"] != _surroundings():
            return None
        for path in paths:
            entry = known["programs"].get(_entry_name(path, cgroups))
            if entry is not None and _Program(path, entry["size"], entry["mtime_ns"]) == _Program.at(path):
                return OciRuntime(path, bool(entry["seccomp"]), str(entry["note"]), cgroups)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Whatever is wrong with the cache, a new trial is the remedy.
        return None
    return None


def _entry_name(path: str, cgroups: bool) -> str:
    return path if cgroups else f"{path} without cgroups"


def _remember(runroot: str, found: OciRuntime) -> None:
    """Save the result with those of other programs in this boot, if the runroot is writable."""
    path = os.path.join(runroot, CACHE_NAME)
    with suppress(OSError):
        program = _Program.at(found.path)
        entry = {"size": program.size, "mtime_ns": program.mtime_ns, "seccomp": found.seccomp, "note": found.note}
        programs = {**_programs(path), _entry_name(found.path, found.cgroups): entry}
        document = json.dumps({"surroundings": _surroundings(), "programs": programs})
        replace_file(path, document.encode(), os.path.join(runroot, passing_name(CACHE_NAME)))


def _programs(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            known = json.loads(file.read(_CACHE_LIMIT))
        return dict(known["programs"]) if known["surroundings"] == _surroundings() else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
