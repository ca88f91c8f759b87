"""The columns of `top`: podman's descriptors, their AIX codes, and the columns and options of ps(1) that people use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from arstore.runtime.inspection.processes import Process

DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
_SECCOMP = {0: "disabled", 1: "strict", 2: "filter"}


class Names(NamedTuple):
    """Names of users and groups in the container, by number; and *now*, in seconds since the boot."""

    users: Mapping[int, str]
    groups: Mapping[int, str]
    now: float

    def user(self, number: int) -> str:
        """Return the name, or the number."""
        return self.users.get(number, str(number))

    def group(self, number: int) -> str:
        """Return the name, or the number."""
        return self.groups.get(number, str(number))


class Column(NamedTuple):
    """A column: its heading, and its text for a process."""

    heading: str
    text: Callable[[Process, Names], str]


def _capabilities(kind: str) -> Callable[[Process, Names], str]:
    def text(process: Process, _: Names) -> str:
        from arstore.runtime.spec.rights.capabilities import NAMES

        mask = process.capabilities[kind]
        names = [name for number, name in enumerate(NAMES) if mask >> number & 1]
        if not names:
            return "none"
        return "full" if len(names) == len(NAMES) else ",".join(names)

    return text


def _elapsed(process: Process, names: Names) -> float:
    return max(0.0, names.now - process.started)


def _share(process: Process, names: Names) -> str:
    elapsed = _elapsed(process, names)
    return f"{100 * process.cpu / elapsed if elapsed else 0.0:.3f}"


def _begin(process: Process, names: Names) -> str:
    from arstore.cli.terminal.spans import go_time

    return go_time(round(time.time() - _elapsed(process, names)))


def _span(seconds: float) -> str:
    """Return a span as Go writes it: 10.85s, 2m3s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    prefix = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return prefix + f"{rest:.3f}".rstrip("0").rstrip(".") + "s"


COLUMNS: dict[str, Column] = {
    "args": Column("COMMAND", lambda one, _: one.args),
    "capamb": Column("AMBIENT CAPS", _capabilities("amb")),
    "capbnd": Column("BOUNDING CAPS", _capabilities("bnd")),
    "capeff": Column("EFFECTIVE CAPS", _capabilities("eff")),
    "capinh": Column("INHERITED CAPS", _capabilities("inh")),
    "capprm": Column("PERMITTED CAPS", _capabilities("prm")),
    "comm": Column("COMMAND", lambda one, _: one.comm),
    "etime": Column("ELAPSED", lambda one, names: _span(_elapsed(one, names))),
    "group": Column("GROUP", lambda one, names: names.group(one.gids[1])),
    "groups": Column("GROUPS", lambda one, names: ",".join(map(names.group, one.groups))),
    "hgroup": Column("HGROUP", lambda one, _: str(one.gids[1])),
    "hgroups": Column("HGROUPS", lambda one, _: ",".join(map(str, one.groups))),
    "hpid": Column("HPID", lambda one, _: str(one.host_pid)),
    "huid": Column("HUID", lambda one, _: str(one.uids[1])),
    "huser": Column("HUSER", lambda one, _: _host_user(one.uids[1])),
    "label": Column("LABEL", lambda one, _: one.label or "?"),
    "nice": Column("NI", lambda one, _: str(one.nice)),
    "pcpu": Column("%CPU", _share),
    "pgid": Column("PGID", lambda one, _: str(one.pgid)),
    "pid": Column("PID", lambda one, _: str(one.pid)),
    "ppid": Column("PPID", lambda one, _: str(one.ppid)),
    "rgroup": Column("RGROUP", lambda one, names: names.group(one.gids[0])),
    "rss": Column("RSS", lambda one, _: str(one.memory >> 10)),
    "ruser": Column("RUSER", lambda one, names: names.user(one.uids[0])),
    "seccomp": Column("SECCOMP", lambda one, _: _SECCOMP.get(one.seccomp, "?")),
    "state": Column("STATE", lambda one, _: one.state),
    "stime": Column("STIME", _begin),
    "time": Column("TIME", lambda one, _: _span(one.cpu)),
    "tty": Column("TTY", lambda one, _: one.tty),
    "uid": Column("UID", lambda one, _: str(one.uids[1])),
    "user": Column("USER", lambda one, names: names.user(one.uids[1])),
    "vsz": Column("VSZ", lambda one, _: str(one.virtual >> 10)),
}
"""By descriptor."""

_CODES = {
    "%C": "pcpu",
    "%G": "group",
    "%P": "ppid",
    "%U": "user",
    "%a": "args",
    "%c": "comm",
    "%g": "rgroup",
    "%n": "nice",
    "%p": "pid",
    "%r": "pgid",
    "%t": "etime",
    "%u": "ruser",
    "%x": "time",
    "%y": "tty",
    "%z": "vsz",
}
_OF_PS = {
    "%cpu": "pcpu",
    "cmd": "args",
    "command": "args",
    "ucmd": "comm",
    "ucomm": "comm",
    "euid": "uid",
    "euser": "user",
    "uname": "user",
    "egroup": "group",
    "ni": "nice",
    "pgrp": "pgid",
    "s": "state",
    "stat": "state",
    "start": "stime",
    "start_time": "stime",
    "lstart": "stime",
    "tt": "tty",
    "tname": "tty",
    "rssize": "rss",
    "rsz": "rss",
    "vsize": "vsz",
    "cputime": "time",
    "supgrp": "groups",
}
_FULL = ("user", "pid", "ppid", "pcpu", "stime", "tty", "time", "args")
_OF_USERS = ("user", "pid", "pcpu", "vsz", "rss", "tty", "state", "stime", "time", "args")
_OPTIONS = {
    **dict.fromkeys(("-ef", "-eF", "-f", "-Af", "ef"), _FULL),
    **dict.fromkeys(("-e", "-A"), ("pid", "tty", "time", "comm")),
    **dict.fromkeys(
        ("aux", "-aux", "u", "axu"), ("user", "pid", "pcpu", "vsz", "rss", "tty", "state", "stime", "time", "args")
    ),
    **dict.fromkeys(("ax", "-ax", "x"), ("pid", "tty", "state", "time", "args")),
}
"""Options of ps(1), and the columns that they stand for."""
_LISTS = ("-o", "-eo", "-Ao", "-axo", "axo", "o")


def columns(words: Sequence[str]) -> list[Column]:
    """Return the columns for the words after the container. Raises UsageError."""
    names: list[str] = []
    rest = list(words)[::-1]
    while rest:
        word = rest.pop()
        if word in _OPTIONS:
            names += _OPTIONS[word]
        elif word in _LISTS:
            if not rest:
                raise UsageError(f"top {word}", "a list of columns is missing")
            names += rest.pop().replace(",", " ").split()
        else:
            names += word.replace(",", " ").split()
    return [_column(name) for name in names or DEFAULT]


def _column(name: str) -> Column:
    key, equals, heading = name.partition("=")
    key = _CODES.get(key) or _OF_PS.get(key.lower()) or key.lower()
    if key not in COLUMNS:
        hint = f"use {', '.join(COLUMNS)}, or a ps option such as -ef, aux or -o LIST"
        raise UsageError(name, "is not a column of top", hint)
    return COLUMNS[key]._replace(heading=heading) if equals else COLUMNS[key]


def _host_user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
