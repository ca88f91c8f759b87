import struct

import pytest

from arstore.errors import CommandNotExecutableError, CommandNotFoundError, ImageConfigError
from arstore.oci.config import ImageConfig
from arstore.oci.platform import Platform
from arstore.runtime.spec import command
from arstore.runtime.spec.command import Lookup, check_command, container_args
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.options import RunOptions


def elf(machine: int = 62, interpreter: bytes = b"") -> bytes:
    """A little 64-bit ELF file with one program header, a PT_INTERP if *interpreter*."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 3 if interpreter else 1, 4, 120, 0, 0, len(interpreter) + 1, 0, 1)
    return header + program + interpreter + b"\0"


@pytest.fixture(autouse=True)
def plain_kernel(monkeypatch):
    """No binfmt_misc, an amd64 host."""
    monkeypatch.setattr(command, "_BINFMT", "/nonexistent")
    monkeypatch.setattr(command, "_machine", lambda: "x86_64")


@pytest.fixture
def root(tmp_path):
    def put(name: str, data: bytes, mode: int = 0o755) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    put("usr/bin/good", elf())
    put("usr/bin/dynamic", elf(interpreter=b"/lib64/ld.so"))
    put("usr/bin/lost", elf(interpreter=b"/lib64/none.so"))
    put("usr/bin/foreign", elf(machine=183))
    put("usr/bin/script", b"#! /usr/bin/good -x\n")
    put("usr/bin/orphan", b"#!/bin/bash\n")
    put("usr/bin/text", b"echo hello\n")
    put("usr/bin/cut", b"\x7fELF\x02\x01")
    put("usr/bin/plain", elf(), mode=0o644)
    put("lib64/ld.so", elf())
    put("usr/local/bin/plain2", elf(), mode=0o600)
    put("usr/bin/plain2", elf())
    (tmp_path / "bin").symlink_to("/usr/bin")
    with RootDirectory(str(tmp_path)) as opened:
        yield opened


def lookup(root, cwd="/", mounts=()) -> Lookup:
    return Lookup(root, "/usr/local/bin:/bin", cwd, mounts)


@pytest.mark.parametrize(
    "name", ["good", "/bin/good", "dynamic", "script", "plain2", "cut", "/data/x", "/proc/self/exe"]
)
def test_found(root, name):
    check_command(name, lookup(root, mounts=("/data",)))


def test_relative_to_the_working_directory(root):
    check_command("./good", lookup(root, cwd="/usr/bin"))
    check_command("bin/good", lookup(root, cwd="/usr"))
    with pytest.raises(CommandNotFoundError):
        check_command("./good", lookup(root))


@pytest.mark.parametrize("name", ["", "missing", "/missing", "/bin/good/x", "lost", "orphan"])
def test_not_found(root, name):
    with pytest.raises(CommandNotFoundError):
        check_command(name, lookup(root))


@pytest.mark.parametrize("name", ["/usr", "/usr/bin/", "plain", "/bin/plain", "text", "foreign"])
def test_not_executable(root, name):
    with pytest.raises(CommandNotExecutableError):
        check_command(name, lookup(root))


def test_what_a_mount_covers_is_left_to_the_runtime(root):
    check_command("missing", lookup(root, mounts=("/usr/bin",)))
    check_command("lost", lookup(root, mounts=("/lib64",)))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "options", "args"),
    [
        (("e",), ("c",), RunOptions(), ("e", "c")),
        (("e",), ("c",), RunOptions(args=("a", "b")), ("e", "a", "b")),
        ((), ("c",), RunOptions(), ("c",)),
        (("e",), ("c",), RunOptions(entrypoint=("x",)), ("x",)),
        (("e",), ("c",), RunOptions(entrypoint=("x",), args=("a",)), ("x", "a")),
        (("e",), ("c",), RunOptions(entrypoint=(), args=("a",)), ("a",)),
    ],
)
def test_arguments(entrypoint, cmd, options, args):
    config = ImageConfig(b"", Platform("linux", "amd64"), (), entrypoint=entrypoint, cmd=cmd)
    assert container_args(config, options) == args


def test_an_entrypoint_that_is_an_empty_word_is_none():
    config = ImageConfig(b"", Platform("linux", "amd64"), (), entrypoint=("",), cmd=("c",))
    assert container_args(config, RunOptions()) == ("c",)
    assert container_args(config, RunOptions(args=("a",))) == ("a",)


def test_a_command_that_cannot_be_read_is_not_guessed():
    config = ImageConfig(b"", Platform("linux", "amd64"), (), cmd=("c",), unreadable=frozenset({"Entrypoint"}))
    for options in (RunOptions(), RunOptions(args=("a",))):
        with pytest.raises(ImageConfigError, match="--entrypoint"):
            container_args(config, options)
    assert container_args(config, RunOptions(entrypoint=("e",))) == ("e",)
    config = ImageConfig(b"", Platform("linux", "amd64"), (), entrypoint=("e",), unreadable=frozenset({"Cmd"}))
    with pytest.raises(ImageConfigError, match="IMAGE ARG"):
        container_args(config, RunOptions())
    assert container_args(config, RunOptions(args=("a",))) == ("e", "a")


def test_no_command_at_all():
    config = ImageConfig(b"", Platform("linux", "amd64"), (), entrypoint=("e",))
    for options in (RunOptions(entrypoint=()),):
        with pytest.raises(CommandNotFoundError):
            container_args(config, options)
