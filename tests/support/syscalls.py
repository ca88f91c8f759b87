"""System calls of a command that writes files: a trace by strace(1), and the data that a power cut could lose.

    trace = traced(arstore, tmp_path, "import", archive)
    assert trace.at_risk == []

A written file is at risk until fdatasync(2), fsync(2) or a syncfs(2); a name given by rename(2) or mkdir(2) is at risk
until its directory is synced. At each commit of the graph, and each time that a document takes its place, nothing that
it refers to may be at risk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Arstore, Outcome

CALLS = (
    "write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,ioctl,ftruncate,fsync,fdatasync,syncfs,sync,"
    "rename,renameat,renameat2,link,linkat,mkdir,mkdirat,open,openat,openat2,mount"
)
_WRITES = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate"}
TAKEN = ".taken"
"""The directory of a container's leavings while `load` imports them."""
_CALL = re.compile(r"(?:\d+\s+)?(\w+)\((.*)\)\s+= (-?\d+)")
_FD = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>")
_NAMES = re.compile(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_FLAGS = re.compile(r"\bO_\w+(?:\|O_\w+)*")
_MODE = re.compile(r"(?:, |mode=)0([0-7]*)(?:\Z|, \w|\})")
_META = re.compile(r", (?:32|4128)$")
"""Offsets of the root of LMDB's tree in its two meta pages: a write there is a commit."""


class Opened(NamedTuple):
    """A file that was opened, or a directory that was made; the latter has empty `flags`."""

    path: str
    flags: frozenset[str]
    mode: int

    @property
    def is_made(self) -> bool:
        """Whether the call may have made it."""
        return not self.flags or "O_CREAT" in self.flags or "O_TMPFILE" in self.flags


@dataclass
class Trace:
    """The calls of one command below some directories, in order, and what was at risk at a wrong moment."""

    below: tuple[str, ...]
    outcome: Outcome
    events: list[tuple[str, str]] = field(default_factory=list)
    """Events with paths: written, synced, renamed (with the new path), committed."""
    opened: list[Opened] = field(default_factory=list)
    mounts: list[tuple[str, str]] = field(default_factory=list)
    """Paths on which mount(2) has mounted something, and the whole call."""
    at_risk: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    def positions(self, what: str, path: str = "") -> list[int]:
        """Positions in `events` where this happened to paths containing *path*, or ending with it before a `$`."""
        return [number for number, (kind, where) in enumerate(self.events) if kind == what and path in f"{where}$"]

    def take(self, name: str, arguments: str) -> None:
        """Record one successful call."""
        paths = [path for path in map(str, _FD.findall(arguments)) if f"{path}/".startswith(self.below)]
        if name == "ioctl" and "FICLONE" not in arguments:
            return
        if name in _WRITES or name in ("ioctl", "copy_file_range", "sendfile"):
            path = paths[-1 if name == "copy_file_range" else 0] if paths else ""
            if path.endswith("/graph/data.mdb") and name == "pwrite64" and _META.search(arguments):
                self._committed(path)
            elif path and not os.path.basename(path).endswith(".mdb"):
                self.written.add(path)
                self.events.append(("written", path))
        elif name in ("fsync", "fdatasync"):
            for path in paths:
                self.written.discard(path)
                self.named = {one for one in self.named if os.path.dirname(one) != path}
                self.events.append(("synced", path))
        elif name in ("syncfs", "sync"):
            self.written.clear()
            self.named.clear()
            self.events.append(("all synced", paths[0] if paths else ""))
        elif name.startswith("mkdir"):
            (path,) = _paths(arguments)
            self.named.add(path)
            self._open(path, arguments)
        elif name == "mount":
            self.mounts.append((arguments.split('"')[3], arguments))
        elif name.startswith("open"):
            self._open(_paths(arguments)[0], arguments)
        else:
            self._renamed(*_paths(arguments), "RENAME_EXCHANGE" in arguments, name.startswith("link"))

    def _open(self, path: str, arguments: str) -> None:
        if f"{path}/".startswith(self.below):
            flags, mode = _FLAGS.search(arguments), _MODE.search(arguments)
            names = frozenset(flags[0].split("|")) if flags else frozenset()
            self.opened.append(Opened(path, names, int(mode[1] or "0", 8) if mode else 0))

    def _renamed(self, old: str, new: str, is_exchange: bool, is_link: bool) -> None:
        """Rename *old* to *new*, with everything that is at risk of it and below it."""
        for at_risk in (self.written, self.named):
            moved = {path for path in at_risk if path == old or path.startswith(f"{old}/")}
            at_risk |= {new + path.removeprefix(old) for path in moved}
            if not is_link and not is_exchange:
                at_risk -= moved
        self.named.add(new)
        self.events.append(("exchanged" if is_exchange else "renamed", new))
        if f"/{TAKEN}/" in new:
            return  # a container's files, which are only moved
        if new in self.written and _is_document(new):
            self.at_risk.append(f"{new} takes its place before its content is durable")
        if os.path.basename(new) == "index.json":
            self._judge("index.json takes its place", os.path.dirname(new))

    def _committed(self, path: str) -> None:
        self.events.append(("committed", path))
        self._judge("the graph commits", path.removesuffix("/graph/data.mdb"))

    def _judge(self, when: str, root: str) -> None:
        for path in sorted(self.written):
            if path.startswith(f"{root}/blobs/"):
                self.at_risk.append(f"{when}: the content of {path} is not durable")
        blobs = [path for what, path in self.events if what == "renamed" and path.startswith(f"{root}/blobs/")]
        for path in sorted(self.named):
            if path.startswith(f"{root}/blobs") and any(f"{blob}/".startswith(f"{path}/") for blob in blobs):
                self.at_risk.append(f"{when}: the name {path} is not durable")


def _is_document(path: str) -> bool:
    """Whether the file of this name must be whole after a power cut."""
    return os.path.basename(path) in ("index.json", "oci-layout", "store.json", "backup.json", "container.json")


def _paths(arguments: str) -> list[str]:
    """The paths that a call names, absolute."""
    return [os.path.normpath(os.path.join(directory, path)) for directory, path in _NAMES.findall(arguments)]


def traced(arstore: Arstore, place: Path, *words: str | Path, data: bytes | None = None) -> Trace:
    """Run a command, which must succeed, under strace(1)."""
    log = place / "trace"
    prefix = ("strace", "--follow-forks", "--decode-fds=path", "--string-limit=0", f"--output={log}")
    under = type(arstore)(arstore.root, arstore.runroot, (*prefix, f"--trace={CALLS}", "--"))
    trace = Trace((f"{place}/",), under.ok(*words, data=data) if data is not None else under.ok(*words))
    pending: dict[str, str] = {}
    for line in log.read_text(errors="backslashreplace").splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            pending[pid] = call.removesuffix("<unfinished ...>").rstrip()
            continue
        if call.startswith("<..."):
            # It counts when it returns: a sync that has not returned promises nothing.
            call = pending.pop(pid, "") + call.partition("resumed>")[2]
        found = _CALL.match(call)
        if found is not None and int(found[3]) >= 0:
            trace.take(found[1], found[2])
    log.unlink()
    return trace
