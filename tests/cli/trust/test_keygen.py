"""`keygen`: pairs of keys, and refusals."""

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from arstore.cli.trust.keygen import _KINDS
from arstore.trust.keys import read_public_key
from arstore.trust.signing import key_files
from arstore.trust.signing.private import KINDS, read_private_key

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def keygen(tmp_path):
    def run(*words, **options):
        command = [sys.executable, "-m", "arstore", "keygen", *words]
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    return run


def pair(tmp_path, name="arstore", passphrase=b""):
    public = read_public_key((tmp_path / f"{name}.pub").read_bytes(), "public")
    private = read_private_key((tmp_path / f"{name}.key").read_bytes(), "private", lambda: passphrase)
    assert private.public.der == public.der
    return public


def test_the_kinds_are_those_of_the_library():
    assert tuple(KINDS) == _KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_of_each_kind(keygen, tmp_path, kind):
    done = keygen("--type", kind, "--no-passphrase", "--json", "k")
    assert done.returncode == 0
    public = pair(tmp_path, "k")
    assert public.kind == KINDS[kind]
    assert json.loads(done.stdout) == {
        "private": "k.key",
        "public": "k.pub",
        "type": kind,
        "sha256": public.fingerprint,
        "encrypted": False,
    }


def test_the_passphrase_comes_from_a_file(keygen, tmp_path):
    (tmp_path / "secret").write_text("pass phrase\n")
    done = keygen("--passphrase-file", "secret")
    assert (done.returncode, done.stdout) == (0, "")
    assert "arstore.key" in done.stderr
    assert pair(tmp_path, passphrase=b"pass phrase").kind == "ECDSA P-256"
    assert b"ENCRYPTED" in (tmp_path / "arstore.key").read_bytes()
    modes = [stat.S_IMODE((tmp_path / f"arstore.{end}").stat().st_mode) for end in ("key", "pub")]
    assert modes == [0o600, 0o644]


@pytest.mark.parametrize(("second", "status"), [("secret", 0), ("other", 2)])
def test_the_passphrase_is_asked_for_twice_on_a_terminal(tmp_path, second, status):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ["PYTHONPATH"] = str(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-m", "arstore", "keygen"])
    said = b""
    for answer in ("secret", second):
        while not said.endswith(b": "):
            said += os.read(terminal, 1000)
        os.write(terminal, f"{answer}\n".encode())
        said += b"."
    try:
        while data := os.read(terminal, 1000):
            said += data
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert b"secret" not in said
    assert (tmp_path / "arstore.key").exists() == (status == 0)
    if status == 0:
        pair(tmp_path, passphrase=b"secret")


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ((), 2, "stdin is not a terminal"),
        (("--no-passphrase", "--passphrase-file", "x"), 2, "exclude each other"),
        (("--no-passphrase", "--format", "cosign"), 2, "exclude each other"),
        (("--no-passphrase", ""), 2, "is empty"),
        (("--no-passphrase", "directory/"), 2, "not a prefix of a file name"),
        (("--no-passphrase", "nowhere/k"), 3, ""),
        (("--passphrase-file", "nowhere"), 3, "no such key file"),
        (("--passphrase-file", "/dev/null"), 57, "regular file"),
        (("--passphrase-file", "empty"), 57, "first line is empty"),
        (("--type", "rsa"), 2, ""),
    ],
)
def test_what_is_refused(keygen, tmp_path, words, status, why):
    (tmp_path / "empty").touch()
    done = keygen(*words)
    assert done.returncode == status
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1 or status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_files_that_are_there_are_not_replaced(keygen, tmp_path):
    (tmp_path / "arstore.pub").write_text("precious")
    done = keygen("--no-passphrase")
    assert done.returncode == 6
    assert [path.name for path in tmp_path.iterdir()] == ["arstore.pub"]
    assert key_files.PUBLIC == ".pub"
