"""The floor of an import: the cost of the same bytes if only the unavoidable work is done.

    python -m benchmarks.floor ARCHIVE DIRECTORY [--without ARCHIVE] [--sync]

Every layer of the OCI archive (or docker-archive) is read once, hashed as stored, inflated, hashed again, and written
once, uncompressed, to a file in DIRECTORY; both digests are compared with those of the manifest and the config. A layer
that is stored uncompressed has one digest, which is computed once. Nothing is parsed; no tree and no graph is made.
Nothing is synced, or with `--sync` each file once, when it is complete. `--without` leaves out the layers that another
archive has too. Prints the seconds as JSON. The start of Python is not counted, since a C program would not need it.

Python drives the floor, and it is honest all the same: the bytes are handled by the same C code that a C program would
call (zlib-ng or ISA-L with vector instructions, OpenSSL with SHA-NI, read(2), write(2)). All of it releases the GIL
and works in pieces of 1 MiB; Python adds some ten microseconds a piece, a few hundredths of a second in all. There are
as many processes as processors. They take the layers, the largest first. Each layer has three threads (inflating,
hashing the stored bytes, hashing and writing the inflated bytes), so that the last layer alone still keeps two
processors busy. A C program would need the headers of those libraries on the machine that measures. A trial, which is
not counted, picks the fastest of the installed inflaters.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import io
import json
import os
import queue
import sys
import tarfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

INPUT = 1 << 18
"""Compressed bytes read at a time."""
PIECE = 1 << 20
"""Inflated bytes handed on at a time."""
_DEPTH = 4
"""Pieces that may wait between two threads."""
_TRIAL = 8 << 20
"""Compressed bytes of the trial."""


class FloorError(Exception):
    """The floor cannot be measured with this archive, or its bytes do not have the expected digests."""


@dataclass(slots=True, frozen=True)
class Layer:
    """A layer's place in the archive, in bytes, and the hex digests of its stored and of its inflated bytes."""

    offset: int
    size: int
    digest: str
    diff_id: str
    gzip: bool


def layers(archive: str) -> list[Layer]:
    """The layers of the only image in the archive, bottom first. Raises FloorError, OSError."""
    try:
        with tarfile.open(archive, "r:") as tar:
            members = {member.name.removeprefix("./"): member for member in tar}
            if "index.json" not in members:
                return _docker_layers(tar, members)

            def document(name: str) -> dict[str, Any]:
                file = tar.extractfile(members[name])
                return dict(json.load(file)) if file else {}

            def blob(descriptor: dict[str, Any]) -> str:
                return f"blobs/{descriptor['digest'].replace(':', '/')}"

            manifest = document(blob(document("index.json")["manifests"][0]))
            diff_ids = document(blob(manifest["config"]))["rootfs"]["diff_ids"]
            return [
                Layer(
                    members[blob(layer)].offset_data,
                    members[blob(layer)].size,
                    layer["digest"].partition(":")[2],
                    diff_id.partition(":")[2],
                    layer["mediaType"].endswith("gzip"),
                )
                for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True)
            ]
    except (KeyError, IndexError, TypeError, ValueError, tarfile.TarError) as error:
        raise FloorError(f"not an archive of one image: {error}") from error


def _docker_layers(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> list[Layer]:
    """The layers of the only image in a docker-archive, which are not compressed. Raises KeyError, ValueError."""

    def text(name: str) -> bytes:
        file = tar.extractfile(members[name])
        return file.read() if file else b""

    (image,) = json.loads(text("manifest.json"))
    found = []
    for name, diff_id in zip(image["Layers"], json.loads(text(image["Config"]))["rootfs"]["diff_ids"], strict=True):
        member = members[name]
        if member.issym() or member.islnk():
            member = members[os.path.normpath(os.path.join(os.path.dirname(name), member.linkname))]
        digest = diff_id.partition(":")[2]
        found.append(Layer(member.offset_data, member.size, digest, digest, False))
    return found


class _Window(io.RawIOBase):
    """A layer's compressed bytes, read from the archive's descriptor; each piece is also given to *seen*."""

    def __init__(self, fd: int, layer: Layer, seen: Callable[[bytes], None]) -> None:
        self._fd, self._layer, self._seen = fd, layer, seen
        self._at, self._end = layer.offset, layer.offset + layer.size

    @property
    def taken(self) -> int:
        """Bytes read so far."""
        return self._layer.size - (self._end - self._at)

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._end - self._at if size < 0 else min(size, self._end - self._at)
        data = os.pread(self._fd, wanted, self._at)
        self._at += len(data)
        if data:
            self._seen(data)
        return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read at most INPUT bytes, as a raw stream does."""
        view = memoryview(buffer).cast("B")
        data = self.read(min(len(view), INPUT))
        view[: len(data)] = data
        return len(data)


def inflaters() -> dict[str, Callable[[_Window], BinaryIO]]:
    """Functions that make an inflating stream of a layer, by the library's name."""
    found: dict[str, Callable[[_Window], BinaryIO]] = {}
    for name, package, module in (("zlib-ng", "zlib_ng", "gzip_ng"), ("ISA-L", "isal", "igzip")):
        with contextlib.suppress(ImportError):
            found[name] = functools.partial(importlib.import_module(f"{package}.{module}").open, mode="rb")
    if not found:
        raise FloorError("neither zlib-ng nor isal is installed")
    return found


def fastest_inflater(archive: str, layer: Layer) -> str:
    """The name of the inflater that takes the least time for the beginning of *layer*."""
    found = inflaters()
    if len(found) == 1:
        return next(iter(found))
    times: dict[str, float] = {}
    fd = os.open(archive, os.O_RDONLY)
    try:
        for name in [*found, *found]:
            seconds = _trial(found[name], fd, layer)
            times[name] = min(seconds, times.get(name, seconds))
    finally:
        os.close(fd)
    return min(times, key=lambda name: times[name])


def _trial(inflater: Callable[[_Window], BinaryIO], fd: int, layer: Layer) -> float:
    """The CPU seconds of this process for the first bytes of *layer*."""
    window = _Window(fd, layer, lambda _data: None)
    stream: Any = inflater(window)
    buffer = bytearray(PIECE)
    start = time.process_time()
    while window.taken < _TRIAL and stream.readinto(buffer):
        pass
    return time.process_time() - start


class _Consumer(threading.Thread):
    """A thread that passes pieces to *take*, one after the other."""

    def __init__(self, take: Callable[[Any], object]) -> None:
        super().__init__(daemon=True)
        self._take = take
        self._queue: queue.Queue[Any] = queue.Queue(_DEPTH)
        self._failure: Exception | None = None

    def put(self, piece: object) -> None:
        self._queue.put(piece)

    def run(self) -> None:
        while (piece := self._queue.get()) is not None:
            try:
                self._take(piece)
            except OSError as error:
                self._failure = error

    def finish(self) -> None:
        """Wait for the last piece. Raises OSError."""
        self._queue.put(None)
        self.join()
        if self._failure is not None:
            raise self._failure


def take(fd: int, layer: Layer, inflater: str, out: str, sync: bool = False) -> None:
    """Read, hash, inflate, hash and write one layer, and sync it if asked to.

    Raises FloorError if a digest does not match; OSError.
    """
    is_plain = not layer.gzip and layer.digest == layer.diff_id
    stored, plain = hashlib.sha256(), hashlib.sha256()
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    for _ in range(_DEPTH + 2):
        free.put(bytearray(PIECE))

    def keep(item: tuple[bytearray, int]) -> None:
        buffer, count = item
        piece = memoryview(buffer)[:count]
        try:
            plain.update(piece)
            while piece:
                piece = piece[os.write(file, piece) :]
        finally:
            free.put(buffer)

    hashing, keeping = _Consumer(stored.update), _Consumer(keep)
    hashing.start()
    keeping.start()
    try:
        window = _Window(fd, layer, (lambda _data: None) if is_plain else hashing.put)
        stream: Any = inflaters()[inflater](window) if layer.gzip else window
        while count := stream.readinto(buffer := free.get()):
            keeping.put((buffer, count))
    finally:
        hashing.finish()
        keeping.finish()
        if sync:
            os.fdatasync(file)
        os.close(file)
    if plain.hexdigest() != layer.diff_id or not (is_plain or stored.hexdigest() == layer.digest):
        raise FloorError("a layer's bytes do not have its digests")


def _work(archive: str, todo: list[Layer], inflater: str, directory: str, numbers: int, sync: bool) -> None:
    fd = os.open(archive, os.O_RDONLY)
    while number := os.read(numbers, 2):
        index = int.from_bytes(number, "little")
        take(fd, todo[index], inflater, f"{directory}/{index}.tar", sync)


def measure(
    archive: str, todo: list[Layer], inflater: str, directory: str, processes: int, sync: bool = False
) -> float:
    """Return the seconds that all of *todo* takes. Raises FloorError if one of the processes failed."""
    todo = sorted(todo, key=lambda layer: -layer.size)
    reading, writing = os.pipe()
    os.write(writing, b"".join(index.to_bytes(2, "little") for index in range(len(todo))))
    os.close(writing)
    start = time.perf_counter()
    children = []
    for _ in range(min(processes, len(todo))):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _work(archive, todo, inflater, directory, reading, sync)
                status = 0
            except (FloorError, OSError, EOFError) as error:
                print(error, file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
    seconds = time.perf_counter() - start
    os.close(reading)
    if failed:
        raise FloorError("a layer could not be taken")
    return seconds


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("archive")
    parser.add_argument("directory")
    parser.add_argument("--without", metavar="ARCHIVE")
    parser.add_argument("--sync", action="store_true")
    options = parser.parse_args()
    try:
        known = {layer.digest for layer in layers(options.without)} if options.without else set()
        todo = [layer for layer in layers(options.archive) if layer.digest not in known]
        largest = max(todo, key=lambda layer: layer.size, default=None)
        inflater = fastest_inflater(options.archive, largest) if largest is not None and largest.gzip else "none"
        processes = len(os.sched_getaffinity(0))
        seconds = measure(options.archive, todo, inflater, options.directory, processes, options.sync)
    except (FloorError, OSError) as error:
        print(f"floor: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"seconds": seconds, "inflater": inflater, "layers": len(todo)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
