"""Targets around running containers: user input, the files that a container leaves, the kernel's mounts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

from arstore.cli.containers.options.setting import parse_entrypoint
from arstore.cli.terminal.output import utc_time
from arstore.disk.owner import Owner
from arstore.linux.mounting import mountinfo
from arstore.linux.process import boot_id
from arstore.runtime import discovery
from arstore.runtime.driver import OciRuntime
from arstore.runtime.lifecycle.signals import parse_signal
from arstore.runtime.lifecycle.state import STATE_NAME, RunState, encoded, status
from arstore.runtime.spec import options
from arstore.runtime.spec.mounts.mount_option import parse_mount
from arstore.runtime.spec.mounts.mount_point import clean_destination
from arstore.runtime.spec.mounts.volume import parse_volume
from arstore.runtime.spec.resources import LEAST_MEMORY, parse_cpus, parse_memory
from arstore.runtime.spec.sizes import parse_size
from arstore.runtime.stdio.log_files import LogFile, LogLimit
from arstore.runtime.stdio.log_reader import LogReader, Wanted
from arstore.runtime.stdio.logs import LOG_NAME, LogLine, LogWriter
from arstore.tar.limits import Limits, changed
from fuzzing import mutators
from fuzzing.target import Target, scratch

_PROGRAM = os.path.realpath(sys.executable)
_SAID = 40
_BLANK = re.compile(rb"[ \t\n\\]")


def read_options(data: bytes) -> None:
    """Read user input for a run or a limit: each grammar accepts the text or refuses it."""
    text = os.fsdecode(data)
    which, text = ord(text[:1] or "0") % 10, text[1:]
    if which == 0:
        assert 0 <= parse_size(text) < 1 << 63
    elif which == 1:
        assert parse_memory(text) >= LEAST_MEMORY
    elif which == 2:
        assert 0.01 <= parse_cpus(text) <= 100_000
    elif which == 3:
        volume = parse_volume(text)
        assert volume.destination.startswith("/")
        assert not {"", ".", ".."} & set(volume.destination.split("/")[1:])
    elif which == 4:
        assert (options.parse_env(text, {"A": "b"}) or "=").partition("=")[1]
    elif which == 5:
        assert os.fsencode(options.check_hostname(text)).isascii()
    elif which == 6:
        assert 0 < parse_signal(text) <= 64
    elif which == 7:
        assert all(isinstance(word, str) for word in parse_entrypoint(text))
    elif which == 8:
        clean_destination(text, text)
        parse_mount(text)
    else:
        found = changed(text.split(" "))._asdict()
        assert all(type(number) is int and number > 0 for number in found.values())
        assert found.keys() == set(Limits._fields)


def read_state(data: bytes) -> None:
    """Read the state of a container: a valid one can be shown, written again, and asked for its processes."""
    place = scratch("state")
    place.put(STATE_NAME, data)
    found = status(place.path)
    for time in (found.created, found.started, found.finished):
        assert time is None or utc_time(time)
    assert not found.keeper.runs_here()
    assert json.loads(encoded(found))


def read_log(data: bytes) -> None:
    """Read a log that may be damaged; and a few bytes written by a container must be read back from it."""
    place = scratch("log")
    fd = place.put(LOG_NAME, data)
    everything = _log_lines(place.path, Wanted())
    assert all(line.stream in {"stdout", "stderr"} for line in everything)
    last = _log_lines(place.path, Wanted(tail=2))
    assert not last or last[-1] == everything[-1]
    os.ftruncate(fd, 0)
    said = data[:_SAID]
    directory = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY)
    file = LogFile(directory, LogLimit(0, 1))
    writer = LogWriter(file.put, "stdout")
    writer.write(said[:9])
    writer.write(said[9:])
    writer.finish()
    file.close()
    os.close(directory)
    assert b"".join(line.data for line in _log_lines(place.path, Wanted())) == said


def _log_lines(directory: str, wanted: Wanted) -> list[LogLine]:
    with LogReader(directory, wanted) as reader:
        return list(reader.read())


def explain_failure(data: bytes) -> None:
    """Explain a runtime's failure, its log and its standard error with a NUL between: the result must be one line."""
    log, _, printed = data.partition(b"\0")
    error = OciRuntime("/usr/bin/runc").failure(log, printed, "box")
    assert str(error).isprintable()


def read_runtime_cache(data: bytes) -> None:
    """Read the cache of runtimes: any content must give a runtime that exists, or none."""
    place = scratch("cache")
    place.put(discovery.CACHE_NAME, data)
    found = discovery._cached(place.path, [_PROGRAM], cgroups=True)
    assert found is None or found.path == _PROGRAM
    if len(data) % 4 == 0:
        assert isinstance(discovery._programs(f"{place.path}/{discovery.CACHE_NAME}"), dict)


def read_mountinfo(data: bytes) -> None:
    """Read a line of the kernel's mount table: escaped names are restored; other bytes are a line or are ignored."""
    root, point, source, options = (data.split(b"\0") + [b""] * 3)[:4]
    if b"-" not in options:
        words = (
            b"36",
            b"35",
            b"98:0",
            b"/" + root,
            b"/" + point,
            b"rw",
            *options.split(),
            b"-",
            b"ext4",
            source,
            b"rw",
        )
        found = mountinfo.parse(b" ".join(map(_escaped, words)) + b"\n")
        assert (found.root, found.mount_point) == (os.fsdecode(b"/" + root), os.fsdecode(b"/" + point))
        assert found.source == os.fsdecode(source)
        assert len(found.propagation) == len(options.split())
    with contextlib.suppress(ValueError):
        mountinfo.parse(data)


def _escaped(text: bytes) -> bytes:
    """Escape as seq_escape() of the kernel does."""
    return _BLANK.sub(lambda found: b"\\%03o" % ord(found[0]), text)


def _typed() -> list[bytes]:
    texts = (
        "0512m", "01.5GiB", "064 kb", "0" + "9" * 19 + "p", "11g", "12m", "20.5", "21e3", "2nan", "3/:/data:ro",
        "3/etc/hosts:/a/../b", "3.:x", "4A", "4B=c=d", "4=", "5box-1.x", "5-", "6TERM", "6rtmin+3", "69", "6RTMAX-65",
        "7/bin/sh", '7["sh","-c"]', "7[1]", "8/a//b/.", "8/..", "9inflated=2t", "9ratio=1000 headers=20m", "9path=0",
    )  # fmt: skip
    return [text.encode() for text in texts]


def _states() -> list[bytes]:
    process = Owner(1 << 22, 5, boot_id())
    state = RunState("box", "running", "/usr/bin/runc", process, process, process, ("sh", "-c"), created=1.5)
    fields = json.loads(encoded(state))
    changes = (
        {},
        {"status": "exited", "exit_code": 137, "started": 2, "finished": 3.5, "process": None},
        {"status": "failed", "error": "no such file", "tty": True, "stop_signal": 64},
        {"keeper": {"pid": -1, "start": 0, "boot": ""}},
    )
    return [json.dumps({**fields, **change}).encode() for change in changes] + [b"[" * 3000]


def _logs() -> list[bytes]:
    time = b"2026-11-25T12:00:00.000000000Z"
    return [
        time + b" stdout F line\n" + time + b" stderr P part",
        b"\n".join(time + b" stdout P " + b"x" * length for length in (0, 40)) + b"\n",
        b"one\ntwo\n\n" + b"z" * 150,
    ]


def _failures() -> list[bytes]:
    texts = (
        '{"level":"error","msg":"exec: \\"x\\": executable file not found in $PATH","time":"t"}\n',
        '{"level":"info","msg":"a"}\n{"level":"fatal","msg":["\\u2028"]}',
        'time="t" level=error msg="exec failed: permission denied: \\"/x\\""',
        "executable file `x` not found: No such file or directory",
        "runc: exec: '/x': stat /x: is a directory",
    )
    return [part for text in texts for part in (text.encode() + b"\0", b"\0" + text.encode())]


def _mounts() -> list[bytes]:
    line = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
    return [line, b"a\\040b\0with blank\0overlay\0shared:1 master:2", b"\\\0\xff\0\0"]


def _caches() -> list[bytes]:
    program = os.stat(_PROGRAM)
    entry = {"size": program.st_size, "mtime_ns": program.st_mtime_ns, "seccomp": True, "note": ""}
    known = {"surroundings": discovery._surroundings(), "programs": {_PROGRAM: entry}}
    return [json.dumps(one).encode() for one in (known, {**known, "programs": {}}, {})] + [b"[" * 3000]


TARGETS = (
    Target("options", read_options, _typed, 200, words=(b"SIG", b"RTMAX-", b":/", b"=", b"[")),
    Target("state", read_state, _states, 4096, mutators.document, words=(b"-1", b"1e400", b"NaN", b"null", b'"pid":')),
    Target("log", read_log, _logs, 200, words=(b" stdout F ", b" stderr P ", b"\n")),
    Target("runtime-log", explain_failure, _failures, 600, words=(b'"msg":', b"exec", b"\\u2028", b"msg=")),
    Target("mountinfo", read_mountinfo, _mounts, 200, words=(b" - ", b"\\040", b"\\777", b"98:0", b"36 35 ")),
    Target("runtime-cache", read_runtime_cache, _caches, 4096, mutators.document),
)
