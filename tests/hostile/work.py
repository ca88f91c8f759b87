"""Sources that are small to send and long to read: files of up to a MiB, refused or read at a bounded cost.

`arstore.tar.steps` has the price of each step. Here are floods of each kind of step, and of several at a time.
`trial.Faults` has the bars.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from support import images, tarblocks

from arstore.tar.compression import Compression, compressor
from hostile.case import FORMS, NAME, Case, Source
from hostile.exhaustion import REFUSED, apart, limited, streamed, void

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hostile.trial import Trial

MIB = 1 << 20
ATTRIBUTE = b"SCHILY.xattr.user."
OWNER = tarblocks.pax((b"uid", b"1"), letter=b"g")


def records(keyword: Callable[[int], bytes], value: bytes, letter: bytes = b"x", first: bytes = b"") -> bytes:
    """An extended header of just under a MiB: the record *first*, then records whose keywords *keyword* makes."""
    data = bytearray(first)
    number = 0
    while len(data) < MIB - 600:
        data += tarblocks.record(keyword(number), value)
        number += 1
    return tarblocks.member(b"PaxHeaders/x", bytes(data), letter)


def repeated(extension: bytes, count: int, letter: bytes = b"0") -> Iterator[bytes]:
    """So many members, each with this extension before it."""
    for number in range(count):
        yield extension + tarblocks.header(b"f%d" % number, letter)
    yield tarblocks.END


def before_all(extension: bytes, count: int) -> Iterator[bytes]:
    """This extension once, then so many files."""
    yield extension
    for number in range(count):
        yield tarblocks.header(b"f%d" % number)
    yield tarblocks.END


def beside_many(count: int, extension: bytes, *, members: bool = False) -> Iterator[bytes]:
    """A MiB of global records, then so many of these extensions, each with a member or all for one."""
    yield attributes(b"g")
    for number in range(count):
        yield extension
        if members:
            yield tarblocks.header(b"f%d" % number)
    yield tarblocks.header() + tarblocks.END


def encoded(piece: bytes, letter: bytes = b"x") -> bytes:
    """A MiB of an attribute as libarchive writes it; its value consists of this piece."""
    return tarblocks.pax((b"LIBARCHIVE.xattr.user.a", piece * (MIB // len(piece) - 100)), letter=letter)


def attributes(letter: bytes = b"x") -> bytes:
    """Some 40,000 attributes."""
    return records(lambda number: ATTRIBUTE + b"%d" % number, b"v", letter)


def files(count: int, first: int = 0) -> Iterator[bytes]:
    """Files without content, a thousand in a directory that has no entry."""
    for number in range(first, first + count):
        yield tarblocks.header(b"d%d/f%d" % (number // 1000, number))
    yield tarblocks.END


def zeros(number: int, size: int) -> Iterator[bytes]:
    """A file of so many MiB of zeros, different by its name."""
    yield tarblocks.header(b"zeros-%d" % number, b"0", size * MIB)
    for _ in range(size):
        yield bytes(MIB)
    yield tarblocks.END


def directories(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield tarblocks.header(b"d%d" % number, b"5")
    yield tarblocks.END


def few_attributes(count: int) -> Iterator[bytes]:
    for number in range(count):
        pairs = [(ATTRIBUTE + b"%d" % each, b"%d" % number) for each in range(10)]
        yield tarblocks.pax(*pairs) + tarblocks.header(b"f%d" % number)
    yield tarblocks.END


def hard_links(count: int) -> Iterator[bytes]:
    yield tarblocks.member(b"f", b"x")
    for number in range(count):
        yield tarblocks.header(b"h%d" % number, b"1", link=b"f")
    yield tarblocks.END


def marks_deep_down(count: int, depth: int) -> Iterator[bytes]:
    """Whiteouts in one deep directory."""
    for number in range(count):
        yield tarblocks.pax((b"path", b"d/" * depth + b".wh.%d" % number)) + tarblocks.header()
    yield tarblocks.END


def marks_in_headers(count: int) -> Iterator[bytes]:
    """Whiteouts as deep as a header alone can express."""
    for number in range(count):
        yield tarblocks.header(b"d/" * 45 + b".wh.%d" % number, prefix=(b"d/" * 77)[:-1])
    yield tarblocks.END


def back_and_forth(count: int, depth: int) -> Iterator[bytes]:
    """Files in so many deep directories in turn: more than a builder caches."""
    for number in range(count):
        yield tarblocks.pax((b"path", b"d/" * depth + b"%d/f%d" % (number % 9000, number))) + tarblocks.header()
    yield tarblocks.END


def through_links(count: int) -> Iterator[bytes]:
    """Hard links whose targets run through symlinks of the maximum length."""
    for number in range(39):
        yield tarblocks.pax((b"linkpath", b"./" * 2000 + b"l%d" % (number + 1))) + tarblocks.header(
            b"l%d" % number, b"2"
        )
    for number in range(count):
        yield tarblocks.header(b"h%d" % number, b"1", link=b"l0/gone")
    yield tarblocks.END


def sparse_maps(count: int, runs: int) -> Iterator[bytes]:
    numbers = b",".join(b"%d,0" % number for number in range(runs))
    head = tarblocks.pax((b"GNU.sparse.size", b"%d" % MIB), (b"GNU.sparse.map", numbers))
    yield from repeated(head, count)


def maps_in_one_header(count: int) -> Iterator[bytes]:
    """Maps of which only the last counts, as many as fit in a header."""
    size = tarblocks.record(b"GNU.sparse.size", b"1000")
    yield from repeated(records(lambda _number: b"GNU.sparse.map", b"0,0," * 100 + b"0,0", first=size), count)


def old_sparse(count: int, blocks: int) -> Iterator[bytes]:
    """Sparse files in the old form of GNU tar: the map is in blocks after the header."""
    pair = b"%011o\0%011o\0" % (0, 0)
    more = (pair * 21 + b"\1").ljust(512, b"\0")
    last = (pair * 21).ljust(512, b"\0")
    for number in range(count):
        block = bytearray(tarblocks.header(b"s%d" % number, b"S", magic=b"ustar  \0"))
        block[386:482] = pair * 4
        block[482] = 1
        block[483:495] = b"%011o\0" % MIB
        yield tarblocks.summed(bytes(block)) + more * (blocks - 1) + last
    yield tarblocks.END


def with_one_sparse(count: int) -> Iterator[bytes]:
    """As many files as fit in an index, and then one that does not fit into any index."""
    for number in range(count):
        yield tarblocks.header(b"d%d/f%d" % (number // 1000, number))
    yield tarblocks.pax((b"GNU.sparse.size", b"4096"), (b"GNU.sparse.map", b"0,0")) + tarblocks.header(b"sparse")
    yield tarblocks.END


LAYERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a MiB of global records for 20,000 members": lambda: before_all(attributes(b"g"), 20_000),
    "a MiB of global records again and again": lambda: repeated(attributes(b"g"), 400),
    "a MiB of global times and owners": lambda: repeated(records(lambda n: b"ugmgi"[n % 2 :: 2], b"1", b"g"), 400),
    "a MiB of attributes for each of 400 members": lambda: repeated(attributes(), 400),
    "a MiB of attributes that no file has": lambda: repeated(records(lambda n: b"SCHILY.xattr.x%d" % n, b""), 400),
    "ten attributes for each of 60,000 members": lambda: few_attributes(60_000),
    "a MiB of records that say nothing": lambda: repeated(records(lambda _number: b"a", b""), 400),
    "a MiB of one record": lambda: repeated(records(lambda _number: b"mtime", b"1.5"), 400),
    "names of attributes that are quoted": lambda: repeated(
        records(lambda _number: b"LIBARCHIVE.xattr." + b"%41" * 1000, b"eA"), 400
    ),
    "small global records beside a MiB of others": lambda: beside_many(
        400_000, tarblocks.pax((b"uid", b"1"), letter=b"g")
    ),
    "global records that change for each member": lambda: beside_many(
        40_000, tarblocks.pax((b"uid", b"1"), letter=b"g"), members=True
    ),
    "short names of attributes that are quoted": lambda: repeated(
        records(lambda _number: b"LIBARCHIVE.xattr." + b"%41" * 240, b"eA"), 900
    ),
    "global names of attributes that are quoted": lambda: repeated(
        records(lambda number: b"LIBARCHIVE.xattr.%d" % number + b"%41" * 240, b"eA", b"g"), 900
    ),
    "a MiB of blanks in base64": lambda: repeated(encoded(b" "), 900),
    "a MiB of base64": lambda: repeated(encoded(b"QUFB"), 900),
    "a MiB of base64 for all members, beside a change for each": lambda: itertools.chain(
        [encoded(b"QUFB", b"g")],
        repeated(OWNER, 40_000),
    ),
    "global access control lists as text": lambda: repeated(
        tarblocks.member(b"g", tarblocks.record(b"SCHILY.acl.access", b"u::r," * 13_000) * 16, b"g"), 900
    ),
    "access control lists as text": lambda: repeated(tarblocks.pax((b"SCHILY.acl.access", b"u::r," * 13_000)), 5000),
    "long names that lead nowhere": lambda: repeated(tarblocks.gnu_long(b"a/../" * 13_000 + b"f"), 5000),
    "a path of a MiB that leads nowhere": lambda: repeated(tarblocks.pax((b"path", b"./" * 500_000 + b"f")), 400),
    "long links that lead nowhere": lambda: repeated(tarblocks.gnu_long(b"a/../" * 13_000 + b"f", b"K"), 5000, b"1"),
    "empty extensions": lambda: before_all(tarblocks.header(b"g", b"g") * 1_500_000, 1),
    "300,000 files": lambda: files(300_000),
    "800,000 files": lambda: files(800_000),
    "200,000 directories": lambda: directories(200_000),
    "350,000 hard links": lambda: hard_links(350_000),
    "20,000 marks 900 directories deep": lambda: marks_deep_down(20_000, 900),
    "280,000 marks 122 directories deep": lambda: marks_in_headers(280_000),
    "40,000 files by turns 900 directories deep": lambda: back_and_forth(40_000, 900),
    "20,000 hard links through long symbolic links": lambda: through_links(20_000),
    "maps of 60,000 runs": lambda: sparse_maps(400, 60_000),
    "maps of which one counts": lambda: maps_in_one_header(400),
    "old maps of 60,000 runs": lambda: old_sparse(400, 2800),
    "250,000 files and one that no index takes": lambda: with_one_sparse(250_000),
}


def _layer(*made: Callable[[], Iterator[bytes]]) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        path = trial.source / "layout"
        apart(lambda: void(streamed(path, *(one() for one in made), compression="zstd")))
        limited(trial, Source((path,)))

    return attempt


# --- many layers, many images ---------------------------------------------------------------------------------------


def _tiny_layers(trial: Trial) -> None:
    """Layers of some hundred bytes, each different."""
    path = trial.source / "hostile.tar"

    def make() -> None:
        layers = [images.layer([images.file(f"f{number}")]) for number in range(4000)]
        images.write_oci_archive(path, images.image(*layers, names=[NAME]))

    apart(make)
    limited(trial, Source((path,)))


def _adapted(count: int, *members: images.Member) -> Callable[[Trial], None]:
    """One layer that is made again for each of many images, because their bottom layers have different symlinks."""

    def attempt(trial: Trial) -> None:
        path = trial.source / "hostile.tar"

        def make() -> None:
            top = images.layer(list(members))
            bottoms = [images.layer([images.symlink("d", f"e{number}")]) for number in range(count)]
            found = [images.image(bottom, top) for bottom in bottoms]
            images.write_oci_archive(path, images.index(*found, names=[NAME]))

        apart(make)
        limited(trial, Source(("--all-platforms", path)), kinds=(*REFUSED, "Manifest", "Platform"))

    return attempt


def _archive(extension: Callable[[], bytes], count: int) -> Callable[[Trial], None]:
    """An outer archive with so many of these before its members, compressed as a whole."""

    def attempt(trial: Trial) -> None:
        path = trial.source / "hostile.tar.zst"

        def make() -> None:
            one = images.layout_files(images.image(images.layer([images.file("f")]), names=[NAME]))
            head = extension()
            with open(path, "wb") as file:
                packed = compressor(file.write, Compression.ZSTD)
                for _ in range(count):
                    packed.write(head)
                packed.write(images.tar(one))
                packed.close()

        apart(make)
        limited(trial, Source((path,)))

    return attempt


SEVERAL: dict[str, Callable[[Trial], None]] = {
    "eight layers of 60,000 files": _layer(*((lambda n=n: files(60_000, 60_000 * n)) for n in range(8))),
    "4,000 layers": _tiny_layers,
    "a layer of 4,000 files for 100 images": _adapted(100, *(images.file(f"d/f{n}") for n in range(4000))),
    "a layer of 300 MiB for 20 images": _adapted(20, images.file("d/f", bytes(300 * MIB))),
    "six layers of 300 MiB of zeros": _layer(*((lambda n=n: zeros(n, 300)) for n in range(6))),
    "global records of an archive": _archive(lambda: attributes(b"g"), 400),
    "attributes of an archive": _archive(lambda: attributes() + tarblocks.header(b"blobs/sha256/f"), 400),
    "long names of an archive": _archive(
        lambda: tarblocks.gnu_long(b"a/../" * 13_000 + b"blobs/f") + tarblocks.header(), 5000
    ),
    "maps of an archive": _archive(lambda: b"".join(maps_in_one_header(1))[:-1024], 400),
}


def cases() -> Iterator[Case]:
    """All of this module, in both forms."""
    for name, blocks in LAYERS.items():
        for form in FORMS:
            yield Case("work", f"{name}, layout", form, _layer(blocks))
    for name, attempt in SEVERAL.items():
        for form in FORMS:
            yield Case("work", name, form, attempt)
