"""`--env-file`: variables that no other user of the host can read in a command line."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

from arstore.cli.containers.options.env import env_file, variables
from arstore.errors import HostError, NotFoundError, UsageError


@pytest.fixture
def made(tmp_path):
    def make(content):
        path = tmp_path / "env"
        path.write_bytes(content)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", ()),
        (b"A=b\n", ("A=b",)),
        (b"A=b", ("A=b",)),
        (b"A=b=c\nB=\n", ("A=b=c", "B=")),
        (b"# A=b\n\n   \n  # too\n\t A=b # stays \n", ("A=b # stays ",)),
        (b"A='b \"c'\n", ("A='b \"c'",)),
        (b"A=b\r\nC=d\r\n", ("A=b", "C=d")),
        (b"A=1\x0b2\x0c3\xc2\x85\xe2\x80\xa84\n", ("A=1\x0b2\x0c3\x85\u20284",)),
        (b"\xef\xbb\xbfA=b\n", ("A=b",)),
        (b"ARSTORE_TEST_HERE\nARSTORE_TEST_NOT\n", ("ARSTORE_TEST_HERE=there",)),
        (b"A=1\nA=2\n", ("A=1", "A=2")),
        (b"A#B=c\n", ("A#B=c",)),
    ],
)
def test_lines(made, monkeypatch, content, found):
    monkeypatch.setenv("ARSTORE_TEST_HERE", "there")
    monkeypatch.delenv("ARSTORE_TEST_NOT", raising=False)
    assert env_file(made(content)) == found


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"=secret", "no name"),
        (b"=", "no name"),
        (b"A B=secret", "white space"),
        (b"A =secret", "white space"),
        (b"export A=secret", "white space"),
        (b"A=secret\0", "NUL"),
        (b"A=secret\xff", "UTF-8"),
        (b"\xff=secret", "UTF-8"),
    ],
)
def test_a_refused_line_is_named_by_its_number_and_not_shown(made, line, why):
    path = made(b"GOOD=1\n# two\n\n" + line + b"\nGOOD=2\n")
    with pytest.raises(UsageError, match=why) as caught:
        env_file(path)
    assert str(caught.value).startswith(f"{path}: line 4: ")
    assert "secret" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, made):
    with pytest.raises(NotFoundError, match="nothing"):
        env_file(str(tmp_path / "nothing"))
    with pytest.raises(HostError):
        env_file(str(tmp_path))
    with pytest.raises(UsageError, match="larger than"):
        env_file(made(b"A=" + b"x" * (17 << 20)))


def test_a_pipe_is_read_as_of_a_shells_process_substitution(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"A=b\n"))
    writer.start()
    assert env_file(str(path)) == ("A=b",)
    writer.join()


def test_what_is_typed_wins_over_files_and_later_files_over_earlier(made, tmp_path):
    (tmp_path / "other").write_bytes(b"A=other\nB=other\n")
    found = variables([made(b"A=file\nB=file\nC=file\n"), str(tmp_path / "other")], ["A=typed"])
    assert dict(one.split("=") for one in found) == {"A": "typed", "B": "other", "C": "file"}


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
def test_run_exec_and_load_take_it_and_no_command_line_has_the_value(tmp_path, made, busybox):
    store = Arstore(tmp_path / "root", tmp_path / "run")
    program = Path(busybox).read_bytes()
    tools = [images.directory("./"), images.directory("bin"), images.file("bin/sh", program, 0o755)]
    script = 'echo $SECRET-$PLAIN; [ -n "$ONCE" ] || while :; do sleep 1; done'
    config = {"Cmd": ["/bin/sh", "-c", script], "Env": ["PATH=/bin", "PLAIN=image"]}
    picture = images.image(images.layer([*tools, images.symlink("bin/sleep", "sh")]), names=["box:1"], config=config)
    store.ok("import", images.write_oci_archive(tmp_path / "box.tar", picture))
    path = made(b"SECRET=hush-hush\nPLAIN=file\n")
    store.ok("run", "-d", "--name", "box", "--env-file", path, "box:1")
    try:
        assert (
            b"hush-hush-file" in store.ok("exec", "--env-file", path, "box", "/bin/sh", "-c", "echo $SECRET-$PLAIN").out
        )
        lines = []
        for one in Path("/proc").glob("[0-9]*/cmdline"):
            # Processes of other tests end meanwhile.
            with contextlib.suppress(OSError):
                lines.append(one.read_bytes())
        assert lines
        assert not any(b"hush-hush" in line for line in lines)
    finally:
        store.run("kill", "box")
        store.run("container", "rm", "-f", "box")
    assert "hush-hush-typed" in store.ok("load", "--env-file", path, "-e", "PLAIN=typed", "-e", "ONCE=1", "box:1").err
    assert "line 1" in store.fails("Usage", "load", "--env-file", made(b"=x\n"), "box:1")
