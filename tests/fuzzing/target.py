"""Targets: the function that each runs, its seeds, and the errors that it may end with."""

from __future__ import annotations

import atexit
import functools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from arstore.errors import ArstoreError

CORPUS = Path(__file__).parent / "corpus"

Mutate = Callable[[bytes, int], bytes]
"""The engine's default mutation: bytes, and the most bytes that may come out."""
Mutator = Callable[[bytes, int, random.Random, Mutate], bytes]
"""A mutation that knows the form: bytes, the most bytes that may come out, a source of chance, and the default one."""


@dataclass(frozen=True)
class Target:
    """`run` may raise an ArstoreError with a text of one line, or a class in `documented`; the rest are findings."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = 512
    mutator: Mutator | None = None
    documented: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = field(default=())

    def __call__(self, data: bytes) -> None:
        try:
            self.run(data)
        except ArstoreError as error:
            if "\n" in str(error):
                raise AssertionError("not one line") from error
        except self.documented:
            pass

    def corpus(self) -> list[Path]:
        """The files of its corpus."""
        place = CORPUS / self.name
        return sorted(place.iterdir()) if place.is_dir() else []


class Scratch:
    """A directory with files that are rewritten for each execution."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._fds: dict[str, int] = {}

    def file(self, name: str) -> int:
        """An open descriptor of the file *name*."""
        fd = self._fds.get(name)
        if fd is None:
            place = f"{self.path}/{name}"
            os.makedirs(os.path.dirname(place), exist_ok=True)
            fd = self._fds[name] = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return fd

    def put(self, name: str, data: bytes) -> int:
        """Write *data* to the file *name*; return its descriptor."""
        fd = self.file(name)
        os.ftruncate(fd, len(data))
        os.pwrite(fd, data, 0)
        return fd

    def keep(self, name: str, data: bytes) -> int:
        """Write *data*, which never changes, to the file *name* once; return its descriptor."""
        return self._fds[name] if name in self._fds else self.put(name, data)

    def forget(self, name: str) -> None:
        """Forget the file: another process has it, or it is gone."""
        fd = self._fds.pop(name, -1)
        if fd >= 0:
            os.close(fd)
        if os.path.lexists(f"{self.path}/{name}"):
            os.unlink(f"{self.path}/{name}")


@functools.cache
def scratch(name: str) -> Scratch:
    """The directory of this name for this process, removed when it ends."""
    place = tempfile.mkdtemp(prefix=f"fuzzing-{name}-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Scratch(place)
