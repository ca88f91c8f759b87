"""Sources that are small to send and large to read: refused by a limit, or read within the allowed memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images, tarblocks

from arstore.tar.compression import Compression, compressor
from hostile.case import FORMS, NAME, Case, Source, bring
from hostile.documents import of_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hostile.trial import Trial

PATIENCE = 200.0
"""Seconds for large sources, after which a command counts as hanging."""
REFUSED = ("Limit", "NoSpace", "Tar", "Host")
"""Kinds of errors for something too large: the last two if a file system, or a form, has no room for it."""


def apart(make: Callable[[], None]) -> None:
    """Run *make* in a separate process: the kernel counts this one's size in the commands that it starts."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            make()
            status = 0
        finally:
            os._exit(status)
    _pid, ended = os.waitpid(pid, 0)
    assert not ended, "an archive was not made"


def limited(trial: Trial, source: Source, *options: str, kinds: tuple[str, ...] = REFUSED) -> None:
    """Import: it must succeed within memory and time, or be refused with one of *kinds* and leave nothing."""
    words = ("-q", "import", "--tree", trial.form, *options, *source.words)
    done = trial.run(*words, data=source.data, timeout=PATIENCE)
    if done.status:
        trial.judge(done, kinds)
        if trial.state() != trial.before:
            trial.wrong("the store is not as before")
    elif not done.hung:
        # The imported image must be usable and removable within the same limits.
        mounted = trial.run("mount", NAME, timeout=PATIENCE)
        trial.expect("the status of mount", mounted.status, 0)
        trial.run("umount", "--all")
        trial.expect("the status of rm", trial.run("-q", "rm", NAME, timeout=PATIENCE).status, 0)
        trial.expect("the status of gc", trial.run("-q", "gc", timeout=PATIENCE).status, 0)


def streamed(path: Path, *made: Iterable[bytes], compression: str = "gzip") -> Path:
    """Write an OCI layout to *path* with a layer for each of these runs of blocks, as they come, in gzip or zstd."""
    place = path / "blobs/sha256"
    place.mkdir(parents=True)
    packed = [_packed(place, blocks, Compression(compression)) for blocks in made]

    def diff_ids(document: dict[str, Any]) -> None:
        document["rootfs"]["diff_ids"] = ["sha256:" + diff for diff, _, _ in packed]

    def layers(document: dict[str, Any]) -> None:
        media_type = f"{images.OCI_LAYER}+{compression}"
        document["layers"] = [
            {"mediaType": media_type, "digest": "sha256:" + digest, "size": size} for _, digest, size in packed
        ]

    picture = images.image(names=[NAME], edit_config=diff_ids, edit_manifest=layers)
    return images.write_files(path, images.layout_files(picture))


def _packed(place: Path, blocks: Iterable[bytes], compression: Compression) -> tuple[str, str, int]:
    """Write a blob to *place* under its digest; return the diff ID, the digest and the size."""
    diff, digest = hashlib.sha256(), hashlib.sha256()
    with open(place / "layer", "wb") as file:

        def write(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        packed = compressor(write, compression, level=1)
        for block in blocks:
            diff.update(block)
            packed.write(block)
        packed.close()
    os.rename(place / "layer", place / digest.hexdigest())
    return diff.hexdigest(), digest.hexdigest(), (place / digest.hexdigest()).stat().st_size


# --- layers that are made as they are written -------------------------------------------------------------------------


def zeros(size: int) -> Iterator[bytes]:
    """A file of zeros."""
    yield tarblocks.header(b"zeros", b"0", size)
    for _ in range(size >> 20):
        yield bytes(1 << 20)
    yield tarblocks.END


def empty_members(count: int) -> Iterator[bytes]:
    """Members without content, a thousand in a directory."""
    for number in range(count):
        yield tarblocks.header(b"d%d/f%d" % (number // 1000, number))
    yield tarblocks.END


def long_names(count: int) -> Iterator[bytes]:
    """Members whose names are as long as allowed."""
    for number in range(count):
        yield tarblocks.pax((b"path", b"%0250d" % number)) + tarblocks.header()
    yield tarblocks.END


def deep_paths(count: int, depth: int) -> Iterator[bytes]:
    """Members, each at the end of a separate path."""
    for number in range(count):
        yield tarblocks.pax((b"path", b"%d/" % number + b"d/" * depth + b"f")) + tarblocks.header()
    yield tarblocks.END


def large_attributes(count: int) -> Iterator[bytes]:
    """Members, each with different attributes."""
    for number in range(count):
        value = b"%060000d" % number
        yield tarblocks.pax((b"SCHILY.xattr.trusted.a", value)) + tarblocks.header(b"f%d" % number)
    yield tarblocks.END


def maze(count: int) -> Iterator[bytes]:
    """Symlinks that each lead through the next, and members through as many as may be followed."""
    for number in range(39):
        target = b"m%d" % (number + 1) if number < 38 else b"end"
        yield tarblocks.header(b"m%d" % number, b"2", link=b"././././././" * 4 + target)
    for number in range(count):
        yield tarblocks.header(b"m0/f%d" % number)
    yield tarblocks.END


def many_symlinks(count: int) -> Iterator[bytes]:
    """Symlinks, each with a different target of 4,000 bytes."""
    for number in range(count):
        yield tarblocks.pax((b"linkpath", b"%04000d" % number)) + tarblocks.header(b"l%d" % number, b"2")
    yield tarblocks.END


def hard_links(count: int) -> Iterator[bytes]:
    """Hard links to one file."""
    yield tarblocks.member(b"f", b"x")
    for number in range(count):
        yield tarblocks.header(b"h%d" % number, b"1", link=b"f")
    yield tarblocks.END


def whiteouts(count: int) -> Iterator[bytes]:
    """Marks, each in a separate directory."""
    for number in range(count):
        yield tarblocks.header(b"w%d/.wh.f" % number)
    yield tarblocks.END


def pax_of(size: int, letter: bytes) -> Iterator[bytes]:
    """An extended header, or a GNU long name, of *size* bytes."""
    yield tarblocks.header(b"x", letter, size)
    for _ in range(size >> 20):
        yield b"9" * (1 << 20)
    yield tarblocks.END


def sparse(size: int, runs: int = 1) -> Iterator[bytes]:
    """A sparse file of *size* bytes, with that many empty runs (GNU.sparse 0.1)."""
    numbers = b",".join(b"%d,0" % (size // runs * number) for number in range(runs))
    records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"%d" % runs)]
    yield tarblocks.pax(*records, (b"GNU.sparse.map", numbers)) + tarblocks.header(b"sparse")
    yield tarblocks.END


def many_sparse(count: int) -> Iterator[bytes]:
    """Sparse files whose maps are long."""
    numbers = b",".join(b"%d,0" % (number * 4096) for number in range(50_000))
    records = [(b"GNU.sparse.size", b"%d" % (1 << 30)), (b"GNU.sparse.numblocks", b"50000")]
    for number in range(count):
        yield tarblocks.pax(*records, (b"GNU.sparse.map", numbers)) + tarblocks.header(b"s%d" % number)
    yield tarblocks.END


def versions(count: int) -> Iterator[bytes]:
    """One name again and again, of alternating kinds."""
    for number in range(count):
        yield tarblocks.header(b"x", b"05"[number % 2 : number % 2 + 1])
    yield tarblocks.END


LAYERS: dict[str, tuple[Callable[[], Iterator[bytes]], tuple[str, ...]]] = {
    "1.3 GiB of zeros": (lambda: zeros(1300 << 20), ("Limit",)),
    "100,000 empty members": (lambda: empty_members(100_000), REFUSED),
    "100,000 names of 250 bytes": (lambda: long_names(100_000), REFUSED),
    "40 paths of 1,000 components": (lambda: deep_paths(40, 1000), REFUSED),
    "200 paths of 1,000 components": (lambda: deep_paths(200, 1000), REFUSED),
    "a path of 2,000 components": (lambda: deep_paths(1, 2000), ("Limit",)),
    "5,000 attributes of 60,000 bytes": (lambda: large_attributes(5000), REFUSED),
    "a maze for 20,000 members": (lambda: maze(20_000), REFUSED),
    "50,000 symlinks of 4,000 bytes": (lambda: many_symlinks(50_000), REFUSED),
    "50,000 hard links to one file": (lambda: hard_links(50_000), REFUSED),
    "30,000 whiteouts in directories": (lambda: whiteouts(30_000), REFUSED),
    "PAX records of 300 MiB": (lambda: pax_of(300 << 20, b"x"), ("Limit",)),
    "global PAX records of 300 MiB": (lambda: pax_of(300 << 20, b"g"), ("Limit",)),
    "a GNU long name of 300 MiB": (lambda: pax_of(300 << 20, b"L"), ("Limit",)),
    "a sparse file of a TiB": (lambda: sparse(1 << 40), REFUSED),
    "a sparse file of an EiB": (lambda: sparse(1 << 60), REFUSED),
    "a sparse map of 70,000 runs": (lambda: sparse(1 << 40, 70_000), ("Limit",)),
    "20 sparse maps of 50,000 runs": (lambda: many_sparse(20), REFUSED),
    "one name 50,000 times": (lambda: versions(50_000), REFUSED),
}


def _layer(blocks: Callable[[], Iterator[bytes]], kinds: tuple[str, ...]) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "layout"
        apart(lambda: void(streamed(path, blocks())))
        limited(trial, Source((path,)), kinds=kinds)

    return attempt


def void(_value: object) -> None:
    """Do nothing."""


def layers() -> Iterator[Case]:
    """Each in both forms."""
    for name, (blocks, kinds) in LAYERS.items():
        for form in FORMS:
            yield Case("exhaustion", f"{name}, layout", form, _layer(blocks, kinds))


# --- several at a time ------------------------------------------------------------------------------------------------

PROCESSORS = 8


def directories(count: int) -> Iterator[bytes]:
    """Directories, each empty."""
    for number in range(count):
        yield tarblocks.header(b"d%d" % number, b"5")
    yield tarblocks.END


def noise(size: int) -> Iterator[bytes]:
    """A file that does not compress: the buffers of all stages are full."""
    yield tarblocks.header(b"noise", b"0", size)
    for _ in range(size >> 20):
        yield os.urandom(1 << 20)
    yield tarblocks.END


TOGETHER: dict[str, tuple[Callable[[], Iterator[bytes]], ...]] = {
    "eight times 40,000 names of 250 bytes": (lambda: long_names(40_000),) * PROCESSORS,
    "eight times 40,000 directories": (lambda: directories(40_000),) * PROCESSORS,
    "eight times 10,000 whiteouts in directories": (lambda: whiteouts(10_000),) * PROCESSORS,
    "eight times 32 MiB of noise": (lambda: noise(32 << 20),) * PROCESSORS,
    "eight bombs of all kinds": (
        lambda: long_names(50_000),
        lambda: directories(50_000),
        lambda: empty_members(100_000),
        lambda: large_attributes(500),
        lambda: many_symlinks(5000),
        lambda: whiteouts(10_000),
        lambda: deep_paths(10, 1000),
        lambda: zeros(900 << 20),
    ),
}


def _marked(number: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A layer made different by its first member."""
    yield tarblocks.header(b"number-%d" % number)
    yield from blocks


def _together(made: Sequence[Callable[[], Iterator[bytes]]]) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "layout"
        apart(lambda: void(streamed(path, *(_marked(number, one()) for number, one in enumerate(made)))))
        trial.processors = PROCESSORS
        limited(trial, Source((path,)))

    return attempt


def together() -> Iterator[Case]:
    """Each in both forms, as on a machine with as many processors as layers."""
    for name, made in TOGETHER.items():
        for form in FORMS:
            yield Case("exhaustion", f"{name}, layout", form, _together(made))


# --- bombs by compression and place -----------------------------------------------------------------------------------

SMALL = ("--limit", "ratio-from=2m")
COMPRESSIONS = ("gzip", "zstd", "xz", "bzip2")


def _bomb(compression: str, where: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        inner, outer = (compression, "none") if where == "layer" else ("none", compression)
        path = trial.source / "hostile.tar"

        def make() -> None:
            bomb = images.image(images.layer([images.file("zeros", bytes(40 << 20))], inner), names=[NAME])
            images.write_oci_archive(path, bomb, compression=outer)

        apart(make)
        source = Source(("-",), (path,)) if where == "stream" else Source((path,))
        bring(trial, source, ("Limit",), {}, *SMALL)

    return attempt


def bombs() -> Iterator[Case]:
    """Each compression, of a layer, a whole archive, and a whole stream."""
    for number, compression in enumerate(COMPRESSIONS):
        for shift, where in enumerate(("layer", "archive", "stream")):
            title = f"a {compression} bomb of the {where}"
            yield Case("exhaustion", title, FORMS[(number + shift) % 2], _bomb(compression, where))


# --- documents and tables ---------------------------------------------------------------------------------------------


def _many_layers(count: int) -> images.Files:
    empty = images.layer([], "none")
    one = images.image(
        names=[NAME],
        edit_config=lambda it: it["rootfs"].update(diff_ids=[empty.diff_id] * count),
        edit_manifest=lambda it: it.update(layers=[empty.descriptor()] * count),
    )
    return [*images.layout_files(one), images.file("blobs/" + empty.digest.replace(":", "/"), empty.blob)]


def _many_manifests(count: int) -> images.Files:
    one = images.image(images.layer([images.file("f")]), names=[NAME])
    files = images.layout_files(one)
    names = [NAME, *(f"n{number}:1" for number in range(1, count))]
    manifests = [{**one.descriptor(), "annotations": {images.REF_NAME: name}} for name in names]
    files[1] = images.file("index.json", images.dump({"schemaVersion": 2, "manifests": manifests}))
    return files


def _nested(depth: int) -> images.Files:
    one: images.Picture | images.Collection = images.image(images.layer([images.file("f")]))
    for _ in range(depth):
        one = images.index(one)
    assert isinstance(one, images.Collection)
    return images.layout_files(images.Collection(one.parts, one.raw, (NAME,)))


def _circle() -> images.Files:
    """An index that names itself, as far as digests allow it."""
    lie = images.sha256(b"an index that is not written yet")
    entry = {"mediaType": images.OCI_INDEX, "digest": lie, "size": 500}
    circle = images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [entry] * 3})
    files = [images.file("oci-layout", images.LAYOUT), images.file("blobs/" + lie.replace(":", "/"), circle)]
    entry = {**entry, "size": len(circle), "annotations": {images.REF_NAME: NAME}}
    return [*files, images.file("index.json", images.dump({"schemaVersion": 2, "manifests": [entry]}))]


def _many_members(count: int, length: int) -> images.Files:
    one = images.image(images.layer([images.file("f")]), names=[NAME])
    return [*images.layout_files(one), *(images.file(f"blobs/{n:0{length}d}") for n in range(count))]


def _large_config() -> images.Files:
    return images.layout_files(images.image(names=[NAME], config={"Env": [f"N{n}={'x' * 100}" for n in range(60_000)]}))


def _many_names() -> images.Files:
    one = images.image(images.layer([images.file("f")]), names=[NAME, *(f"n{n}:1" for n in range(30_000))])
    return images.docker_files(one)


REPEATED = ("Limit", "Manifest", "DigestMismatch", "MissingBlob", "UnknownFormat", "Platform")
TABLES: dict[str, tuple[Callable[[], images.Files], tuple[str, ...]]] = {
    "10,001 layers": (lambda: _many_layers(10_001), ("Limit", "Manifest")),
    "1,000 empty layers": (lambda: _many_layers(1000), REPEATED),
    "10,001 manifests": (lambda: _many_manifests(10_001), ("Limit", "Manifest")),
    "4,000 names": (lambda: _many_manifests(4000), REPEATED),
    "30,000 names": (_many_names, REPEATED),
    "indexes 20 deep": (lambda: _nested(20), REPEATED),
    "an index that names itself": (_circle, REPEATED),
    "100,001 members": (lambda: _many_members(100_001, 8), ("Limit",)),
    "99,000 members with long names": (lambda: _many_members(99_000, 250), REFUSED),
    "a config of 6 MiB": (_large_config, ("Limit",)),
}


def _table(files: Callable[[], images.Files], kinds: tuple[str, ...], entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        apart(lambda: void(of_files(entry, trial.source, files())))
        source = Source((trial.source / "hostile.tar",))
        limited(trial, Source(("-",), (trial.source / "hostile.tar",)) if entry == "stdin" else source, kinds=kinds)

    return attempt


def tables() -> Iterator[Case]:
    """Each in place and from a stream."""
    for number, (name, (files, kinds)) in enumerate(TABLES.items()):
        for shift, entry in enumerate(("oci-archive", "stdin")):
            yield Case("exhaustion", f"{name}, {entry}", FORMS[(number + shift) % 2], _table(files, kinds, entry))


def endless() -> Iterator[Case]:
    """Sources without an end."""
    for form, name in zip(FORMS, ("zero", "urandom"), strict=True):

        def attempt(trial: Trial, name: str = name) -> None:
            source = Source(("-",), (Path("/dev", name),))
            bring(trial, source, ("UnknownFormat", "Tar", "Compression", "Limit"), {})

        def after(trial: Trial, name: str = name) -> None:
            one = images.image(images.layer([images.file("f")]), names=[NAME])
            archive = images.write_oci_archive(trial.source / "hostile.tar", one)
            bring(trial, Source(("-",), (archive, Path("/dev", name))), ("Limit",), {})

        yield Case("exhaustion", f"/dev/{name}, stdin", form, attempt)
        yield Case("exhaustion", f"/dev/{name} after an archive, stdin", form, after)


def cases() -> Iterator[Case]:
    """All of this module."""
    yield from bombs()
    yield from layers()
    yield from together()
    yield from tables()
    yield from endless()
