"""The program in this process: takes a command line, returns its exit status and its output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from support import images, stores
from support.copying import copy_store

from arstore.cli.failure import guarded
from arstore.cli.main import run
from arstore.cli.session import Session


@dataclass
class Result:
    """How a command line ended."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode()

    @property
    def json(self) -> Any:
        """stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Program:
    """arstore on one store."""

    def __init__(self, root, runroot, capture):
        self.root = root
        self.runroot = runroot
        self._capture = capture

    def __call__(self, *words, session=None):
        """Run a command line, however it ends."""
        session = session or Session()
        options = ["--root", str(self.root), "--runroot", str(self.runroot)]
        status = guarded(session, lambda: run(session, [*options, *map(str, words)]))
        captured = self._capture.readouterr()
        return Result(status, captured.out, captured.err.decode())

    def ok(self, *words):
        """Run a command line that must succeed."""
        result = self(*words)
        assert result.status == 0, result.err
        return result


@pytest.fixture
def arstore(store_root, runroot, capfdbinary):
    """The program on an empty store."""
    stores.made(store_root, runroot).close()
    program = Program(store_root, runroot, capfdbinary)
    yield program
    if runroot.exists():
        program("umount", "--all", "--force")


@pytest.fixture
def storeless(store_root, runroot, capfdbinary):
    """The program without a store."""
    return Program(store_root, runroot, capfdbinary)


@pytest.fixture
def picture():
    """A small image named example:1."""
    return images.example(names=["example:1", "example:latest"])


@pytest.fixture
def filled(arstore, picture, tmp_path, tmp_path_factory):
    """The program on a store with *picture*."""
    images.write_oci_archive(tmp_path / "example.tar", picture)
    copy_store(tmp_path_factory, picture, arstore.root, arstore.runroot)
    return arstore
