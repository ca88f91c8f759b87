"""Every failure is one line or one object, and an exit status."""

from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore import errors
from arstore.cli.containers.containers import exec_
from arstore.cli.containers.run import run
from arstore.cli.failure import guarded
from arstore.cli.images.images import images
from arstore.cli.session import Session
from arstore.cli.terminal.output import ClosedStreamError


def failing(error):
    def body():
        raise error

    return body


def told(capsys, error, command=None, as_json=False):
    session = Session()
    session.command = command
    session.json = as_json
    status = guarded(session, failing(error))
    captured = capsys.readouterr()
    assert captured.out == ""
    return status, captured.err


@pytest.mark.parametrize("cls", errors.error_classes())
def test_every_error_has_its_status(capsys, cls):
    status, err = told(capsys, cls("what", "why", "hint"), images)
    assert status == cls.exit_code
    assert err == "arstore: what: why; hint\n"
    status, err = told(capsys, cls("what", "why", "hint"), images, as_json=True)
    assert json.loads(err) == {
        "error": {
            "kind": cls.__name__.removesuffix("Error"),
            "what": "what",
            "why": "why",
            "hint": "hint",
            "exit_code": cls.exit_code,
        }
    }


@pytest.mark.parametrize("command", [run, exec_])
@pytest.mark.parametrize("cls", errors.error_classes())
def test_run_and_exec_have_their_own(capsys, cls, command):
    special = {errors.CommandNotExecutableError: 126, errors.IdentityError: 126, errors.CommandNotFoundError: 127}
    special |= {errors.PortInUseError: 126, errors.RuntimeFailedError: 126}
    special |= {errors.InterruptedByUserError: 130, errors.PipelineTimeoutError: 255}
    status, err = told(capsys, cls("what", "why"), command, as_json=True)
    assert status == special.get(cls, 125)
    assert json.loads(err)["error"]["exit_code"] == status


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "/x/y"), 3, "arstore: /x/y: no such file\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 42, "arstore: /x: permission denied\n"),
        (OSError(errno.EIO, "Input/output error"), 40, "arstore: input/output error\n"),
        (KeyboardInterrupt(), 130, "arstore: interrupted\n"),
        (ClosedStreamError(), 141, ""),
        (MemoryError(), 40, "arstore: out of memory; free some memory, or raise its limit (`ulimit -v`)\n"),
    ],
)
def test_other_failures(capfd, error, status, line):
    assert told(capfd, error) == (status, line)


@pytest.mark.parametrize("error", [ValueError("a\nb"), RecursionError(), KeyError("x")])
def test_a_mistake_of_ours_is_one_line(capsys, monkeypatch, error):
    monkeypatch.delenv("ARSTORE_DEBUG", raising=False)
    status, err = told(capsys, error)
    assert status == 1
    assert err.startswith(f"arstore: internal error: {type(error).__name__}: ")
    assert err.count("\n") == 1
    assert "ARSTORE_DEBUG=1" in err


def test_a_mistake_of_ours_is_let_through_for_those_who_look(monkeypatch):
    monkeypatch.setenv("ARSTORE_DEBUG", "1")
    with pytest.raises(ValueError, match="seen"):
        guarded(Session(), failing(ValueError("seen")))
    with pytest.raises(FileNotFoundError):
        guarded(Session(), failing(FileNotFoundError(errno.ENOENT, "x")))


@given(st.text(), st.text(), st.text())
def test_hostile_text_stays_one_line(what, why, hint):
    import io
    from contextlib import redirect_stderr

    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="backslashreplace")
    for as_json in (False, True):
        session = Session()
        session.json = as_json
        with redirect_stderr(stream):
            guarded(session, failing(errors.TarError(what, why, hint)))
    plain, document = stream.buffer.getvalue().decode("ascii").split("\n")[:2]
    assert stream.buffer.getvalue().count(b"\n") == 2
    assert plain.startswith("arstore: ")
    assert all(c.isprintable() for c in plain)
    assert json.loads(document)["error"] == {
        "kind": "Tar", "what": what, "why": why, "hint": hint, "exit_code": errors.TarError.exit_code,
    }  # fmt: skip
