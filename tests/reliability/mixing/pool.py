"""The images of a mixture: small, sharing layers, in every transport; and two that can be run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import images

REPOSITORY = Path(__file__).resolve().parents[3]

LEFT = ("greeter", "counter")
"""Names of the images that a pipeline leaves behind."""


@dataclass(frozen=True)
class Source:
    """Input of `import`: words, and the file for stdin."""

    words: tuple[str, ...]
    stdin: Path | None = None


@dataclass(frozen=True)
class Family:
    """One image: its *name*, and everything that it can be imported from."""

    name: str
    sources: tuple[Source, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """Further names that it may get."""
        return tuple(f"also-{self.name.partition(':')[0]}:{number}" for number in range(3))


def pool(directory: Path) -> list[Family]:
    """Write all sources into *directory*."""
    return [*_written(directory), runnable(directory), *(Family(f"{name}:1") for name in LEFT)]


def runnable(directory: Path) -> Family:
    """The image of the containers."""
    path = directory / "base.tar"
    _make(path, "--name", "base:1", "--sleep", "1")
    return Family("base:1", (Source((str(path),)), Source(("-",), path)))


def pipeline(directory: Path) -> Path:
    """The archive for `load`; another image than `runnable`."""
    path = directory / "pipeline.tar"
    _make(path)
    return path


def _make(path: Path, *options: str) -> None:
    words = [sys.executable, str(REPOSITORY / "tools" / "pipeline_image.py"), str(path), *options]
    subprocess.run(words, check=True, capture_output=True)


def _layer(name: str, size: int = 20_000, compression: str = "gzip") -> images.Layer:
    content = os.urandom(size) if size > 100_000 else name.encode() * (size // len(name))
    return images.layer([images.directory("./"), images.file(name, content)], compression)


def _written(directory: Path) -> list[Family]:
    aa, bb, large = _layer("aa"), _layer("bb", compression="none"), _layer("large", 6_000_000)
    inside = images.layer([images.file("dir/x", b"x")])
    linked = images.layer([images.directory("./"), images.directory("real"), images.symlink("dir", "real")])
    implied = images.layer([images.directory("./", 0o711), images.directory("dir", 0o700)])
    deep = [_layer(f"deep-{number}", 500) for number in range(12)]
    pictures = {
        "one": images.image(aa, names=("one:1",)),
        "two": images.image(aa, bb, names=("two:1",)),
        "large": images.image(aa, large, names=("large:1",)),
        "deep": images.image(aa, *deep, names=("deep:1",)),
        "linked": images.image(aa, linked, inside, names=("linked:1",)),
        "implied": images.image(implied, inside, names=("implied:1",)),
    }
    both = images.index(images.image(bb, aa), images.image(bb, architecture="arm64"), names=("both:1",))
    several = images.write_oci_archive(directory / "both.tar", both)
    found = [Family("both:1", (Source(("--all-platforms", str(several))),))]
    return found + [Family(f"{name}:1", tuple(_sources(directory, name, one))) for name, one in pictures.items()]


def _sources(directory: Path, name: str, one: images.Picture) -> list[Source]:
    plain = images.write_oci_archive(directory / f"{name}.oci.tar", one)
    gzipped = images.write_oci_archive(directory / f"{name}.oci.tar.gz", one, compression="gzip")
    layout = images.write_layout(directory / f"{name}.layout", one)
    docker = images.write_docker_archive(directory / f"{name}.docker.tar", one)
    raw = images.write_dir(directory / f"{name}.dir", one)
    return [
        Source((str(plain),)),
        Source((str(gzipped),)),
        Source((f"oci:{layout}",)),
        Source((f"docker-archive:{docker}",)),
        Source(("--name", f"{name}:1", f"dir:{raw}")),
        Source(("-",), plain),
        Source(("-",), docker),
        Source(("--tree", "directory", str(plain))),
    ]
