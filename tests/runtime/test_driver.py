import json

import pytest

from arstore.errors import CommandNotExecutableError, CommandNotFoundError, NoSpaceError, RuntimeFailedError
from arstore.runtime.driver import OciRuntime, StatePlace, last_message, read_log

RUNTIME = OciRuntime("/usr/bin/runc")
RUN = "runc run failed: unable to start container process: "


def log(*messages: str, level: str = "error") -> bytes:
    return b"".join(json.dumps({"level": level, "msg": m}).encode() + b"\n" for m in messages)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (RUN + 'exec: "foo": executable file not found in $PATH', CommandNotFoundError),
        (RUN + 'error during container init: exec: "/foo": stat /foo: no such file or directory', CommandNotFoundError),
        (RUN + 'exec: "/etc": permission denied', CommandNotExecutableError),
        (RUN + 'exec: "/etc": is a directory', CommandNotExecutableError),
        ("exec /foo: exec format error", CommandNotExecutableError),
        ("executable file `foo` not found in $PATH: No such file or directory", CommandNotFoundError),
        ("open executable: Permission denied", CommandNotExecutableError),
        ("executable 'foo' for container process doesn't exist", CommandNotFoundError),
        (RUN + 'error mounting "/x" to rootfs at "/y": no such file or directory', RuntimeFailedError),
        ("mount `/proc`: Permission denied", RuntimeFailedError),
        ("creating `/x`: openat2 `dev/null`: No space left on device", NoSpaceError),
        ("cgroups in hybrid mode not supported", RuntimeFailedError),
    ],
)
def test_classes_of_failures(message, kind):
    error = RUNTIME.failure(log("first", message), b"", "what")
    assert type(error) is kind
    assert error.what == "what"


def test_reason_does_not_repeat_the_command():
    error = RUNTIME.failure(log(RUN + 'exec: "foo": executable file not found in $PATH'), b"", "foo")
    assert error.why == "executable file not found in $PATH"


def test_message_of_damaged_logs():
    assert last_message(b"") == ""
    assert last_message(b"\xff\n[]\n{}\nnot json\n" + log("a\nb\x1b[0m") + log("later", level="warning")) == "a b [0m"
    assert last_message(b"[" * 100000) == ""


def test_without_a_log_what_was_printed_counts():
    error = RUNTIME.failure(b"", b'time="now" level=error msg="it \\"broke\\""\n', "x")
    assert 'it \\"broke\\"' in error.why
    assert "without a message" in RUNTIME.failure(b"", b"", "x").why


def test_command_line_without_control_groups():
    without = OciRuntime("/usr/bin/crun", cgroups=False)
    assert "--cgroup-manager=disabled" in without.exec(StatePlace("/s", "/l"), "id", "p", "pid")
    assert "--cgroup-manager=disabled" not in RUNTIME.exec(StatePlace("/s", "/l"), "id", "p", "pid")


def test_command_lines():
    place = StatePlace("/s", "/l")
    start = ["/usr/bin/runc", "--root", "/s", "--log", "/l", "--log-format", "json"]
    assert RUNTIME.run(place, "id", "/b", "pid") == [
        *start,
        "run",
        "--detach",
        "--bundle",
        "/b",
        "--pid-file",
        "pid",
        "id",
    ]
    assert RUNTIME.exec(place, "id", "p", "pid", "c")[-3:] == ["--console-socket", "c", "id"]
    assert RUNTIME.state(place, "id")[7:] == ["state", "id"]
    assert RUNTIME.kill(place, "id", 15)[7:] == ["kill", "id", "15"]
    assert RUNTIME.delete(place, "id")[7:] == ["delete", "--force", "id"]


def test_log_that_is_missing(tmp_path):
    assert read_log(str(tmp_path / "none")) == b""


def test_a_level_that_is_no_text_is_no_error():
    lines = b'{"level":{},"msg":"a"}\n{"level":["error"],"msg":"b"}\n'
    assert last_message(lines) == ""
    assert last_message(lines + log("c")) == "c"
