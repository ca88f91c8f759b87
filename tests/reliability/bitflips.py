"""Flipped bits: one bit in one file of a store, in every kind of file; `check` has to find it, `--repair` to mend it.

The store has images in both forms of trees, with caps, adapted trees, needs and a merged index, two names for one
image, and a container. A round flips a random bit of a random file of one kind (or changes the file's metadata or
length, or removes or adds a file). Then it checks, repairs with the archives as sources, checks again, and compares
every byte of the store with its state before. Not tried, because no checksum covers them: files that a container has
written, the graph's lock file, claims and spare space. A flip in a page of LMDB may hit a byte that nothing reads; it
must not change what LMDB reads, is counted separately, and another one is tried.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images, stores, treelist

from arstore.graph.datafile import MAP_SIZE
from arstore.graph.lmdb_pages import walk
from arstore.maintenance.check import check, repair
from arstore.maintenance.find.update import update
from arstore.rootfs import mount as rootfs
from arstore.store.progress import NoProgress
from arstore.transport.copy import ImportOptions, import_reference
from reliability.answers import answers
from reliability.answers import wrong as wrong_answers
from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096
CONTENTS = "index of contents"
"""A kind of which damage is harmless."""


class Place:
    """A store to harm, in a separate directory, and the archives that its images came from."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.store = stores.opened(directory)
        self.sources = [str(path) for path in self._fill()]
        rootfs.create_container(self.store, self.store.find("rich:1"), "box")
        self.store.sync_trees()
        found = check(self.store)
        if found:
            raise RuntimeError(f"the store is not well to begin with: {found}")
        self.records = self._records()
        self.known = answers(self.store)["shown"]
        self.store.close()
        self.before = self.state()

    def _fill(self) -> Iterator[Path]:
        implied = images.implied_layers()
        parts = {
            "rich": images.example(names=("rich:1", "rich:latest")),
            "plain": stores.simple("one", "two", names=("plain:1",)),
            "implied": images.image(*implied, names=["implied:1"]),
            "deep": stores.simple(*(f"layer-{n}" for n in range(12)), names=("deep:1",), compression="gzip"),
        }
        for name, picture in parts.items():
            yield self._import(name, picture, "auto")
        large = [images.directory("./"), *(images.file(f"f{n}", os.urandom(20_000)) for n in range(20))]
        for name, layers in {
            "files": [images.layer(large), *images.example_layers("zstd")],
            "caps": [images.layer([images.directory("other/", mode=0o711)]), *images.implied_layers("none")],
        }.items():
            marked = images.layer([images.directory("./"), images.file(f"of-{name}")])
            yield self._import(name, images.image(marked, *layers, names=[f"{name}:1"]), "directory")

    def _import(self, name: str, picture: images.Picture, tree: str) -> Path:
        path = images.write_oci_archive(self.directory / f"{name}.tar", picture)
        import_reference(self.store, str(path), ImportOptions(tree=tree))
        return path

    def _records(self) -> dict[str, Any]:
        """The graph's records, without times and boots."""
        found = {}
        for key, record in stores.records(self.store).items():
            for name in ("imported", "boot", "created"):
                if name in getattr(record, "_fields", ()):
                    record = record._replace(**{name: None})
            found[key] = record
        return found

    def state(self) -> dict[str, object]:
        """Every byte of the store except the graph, with the metadata of extracted files."""
        found: dict[str, object] = {}
        for path in [*sorted(self.root.glob("blobs/*/*")), self.root / "index.json", self.root / "oci-layout"]:
            found[str(path.relative_to(self.root))] = digest(path)
        for tree in sorted((self.root / "trees").iterdir()):
            for path in sorted(tree.iterdir()):
                name = str(path.relative_to(self.root))
                found[name] = treelist.listing(path) if path.is_dir() else digest(path)
        return found

    def differences(self) -> list[str]:
        """The differences from the state before the harm; empty if all is mended."""
        self.store.sync_trees()
        wrong = [f"{finding.damage.value} {finding.what}: {finding.why}" for finding in check(self.store)]
        now = self._records()
        wrong += [f"record {key}" for key in now.keys() | self.records.keys() if now.get(key) != self.records.get(key)]
        after = self.state()
        wrong += [name for name in after.keys() | self.before.keys() if after.get(name) != self.before.get(name)]
        self.store.close()
        for aside in self.root.glob("graph.damaged-*"):
            shutil.rmtree(aside)
        return wrong + self.answered()

    def answered(self) -> list[str]:
        """The wrong answers of `find`."""
        found = wrong_answers(answers(self.store), self.known)
        self.store.close()
        return found

    def indexed(self) -> None:
        """Make the index of contents again, which a repair only removes."""
        update(self.store, NoProgress())
        self.store.close()


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flip(path: Path, chance: random.Random) -> str:
    """Flip one bit of *path* and keep its times; return where."""
    status = path.lstat()
    place, bit = chance.randrange(status.st_size), chance.randrange(8)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"bit {bit} of byte {place} of {path.name}"


@contextlib.contextmanager
def times_of(directory: Path) -> Iterator[None]:
    """Keep the times of a directory, so that they do not reveal a change in it."""
    status = directory.stat()
    yield
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))


def extracted(place: Place, chance: random.Random) -> Path:
    """A regular, non-empty extracted file."""
    found = [path for path in place.root.glob("trees/*/fs/**/*") if path.is_file() and not path.is_symlink()]
    return chance.choice(sorted(path for path in found if path.stat().st_size))


def of_blobs(kind: str) -> Callable[[Place, random.Random], str]:
    """Flips in blobs of one kind: manifests, configs or layers."""

    def harm(place: Place, chance: random.Random) -> str:
        with place.store.graph.read() as snapshot:
            digests = {
                "manifest": [digest for digest, _ in snapshot.images()],
                "config": [image.config for _, image in snapshot.images()],
                "layer": [digest for digest, blob in snapshot.blobs() if blob.diff_id],
            }[kind]
        place.store.close()
        return flip(Path(place.store.directories.blob(chance.choice(sorted(digests)))), chance)

    return harm


def of_files(pattern: str) -> Callable[[Place, random.Random], str]:
    """Flips in files that *pattern* matches."""
    return lambda place, chance: flip(chance.choice(sorted(place.root.glob(pattern))), chance)


def metadata(place: Place, chance: random.Random) -> str:
    """Change the mode, owner, time or an attribute of an extracted file."""
    path = extracted(place, chance)
    status = path.stat()
    what = chance.choice(["mode", "owner", "time", "attribute"])
    if what == "mode":
        path.chmod(status.st_mode & 0o7777 ^ 1 << chance.randrange(9))
    elif what == "owner":
        os.chown(path, status.st_uid ^ 1 << chance.randrange(16), status.st_gid)
    elif what == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns ^ 1 << chance.randrange(30)))
    else:
        os.setxattr(path, f"user.x{chance.randrange(9)}", b"y")
    return f"{what} of {path}"


def presence(place: Place, chance: random.Random) -> str:
    """Cut or remove an extracted file, or add one."""
    path = extracted(place, chance)
    what = chance.choice(["cut", "missing", "extra"])
    status = path.stat()
    with times_of(path.parent):
        if what == "cut":
            os.truncate(path, chance.randrange(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif what == "missing":
            path.unlink()
        else:
            path.with_name("extra").write_bytes(b"")
    return f"{what}: {path}"


def graph(place: Place, chance: random.Random) -> str:
    """Flip a bit in a page of the graph that is in use."""
    place.store.close()
    data = place.root / "graph/data.mdb"
    original = data.read_bytes()
    number = chance.choice(used_pages(data, original))
    data.write_bytes(original)
    at, bit = number * PAGE + chance.randrange(PAGE), chance.randrange(8)
    altered = bytearray(original)
    altered[at] ^= 1 << bit
    data.write_bytes(altered)
    return f"bit {bit} of byte {at % PAGE} of page {number}"


def used_pages(data: Path, original: bytes) -> list[int]:
    """The pages that a walk reads."""
    found = [0, 1]
    for number in range(2, len(original) // PAGE):
        altered = bytearray(original)
        altered[number * PAGE] ^= 1
        data.write_bytes(altered)
        if walk(str(data), MAP_SIZE, lambda _key, _value: None).faults:
            found.append(number)
    return found


def of_one_file(place: Place, chance: random.Random) -> str:
    """Flip a bit in a file that is both a blob and the tar of a tree."""
    blobs = [path for path in place.root.glob("blobs/*/*") if path.stat().st_nlink > 1]
    return flip(chance.choice(sorted(blobs)), chance)


def of_contents(place: Place, chance: random.Random) -> str:
    """Flip a bit in the index of contents; `find` must answer as before even without a check."""
    place.indexed()
    what = of_files("graph/contents/[0-9]*")(place, chance)
    if faults := place.answered():
        raise RuntimeError(f"{what}: {faults}")
    return what


KINDS: dict[str, Callable[[Place, random.Random], str]] = {
    "manifest": of_blobs("manifest"),
    "config": of_blobs("config"),
    "layer blob": of_blobs("layer"),
    "layer of one file": of_one_file,
    "layer.tar": of_files("trees/*/layer.tar"),
    "layer.erofs": of_files("trees/*/layer.erofs"),
    "merged.erofs": of_files("trees/*/merged.erofs"),
    "extracted file": lambda place, chance: flip(extracted(place, chance), chance),
    "metadata of extracted files": metadata,
    "presence of extracted files": presence,
    "listing": of_files("trees/*/listing"),
    "needs.json": of_files("trees/*/needs.json"),
    "index.json": of_files("index.json"),
    "oci-layout": of_files("oci-layout"),
    "graph": graph,
    CONTENTS: of_contents,
}
"""Functions by kind of harm; each changes one thing and returns a description."""


@dataclass
class Tally:
    """The number of flips of each kind that were tried, found and mended, and of flips in bytes that nothing reads."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    in_vain: int = 0


def run(directory: Path, places: int, seed: int, tell: Callable[[str], None]) -> Tally:
    """Harm a store in the empty *directory* in so many places, evenly over the kinds; report each fault."""
    chance = random.Random(seed)
    place = Place(directory)
    tally = Tally()
    names = list(KINDS)
    while tally.tried.total() < places:
        kind = names[tally.tried.total() % len(names)]
        what = KINDS[kind](place, chance)
        findings = check(place.store)
        if kind == "graph" and not findings and not place.differences():
            tally.in_vain += 1
            continue
        tally.tried[kind] += 1
        if any(not finding.harmless or kind == CONTENTS for finding in findings):
            tally.found[kind] += 1
        else:
            tell(f"{kind}: {what}: not found ({findings})")
        repair(place.store, findings, place.sources)
        wrong = place.differences()
        if not wrong:
            tally.mended[kind] += 1
            continue
        tell(f"{kind}: {what}: not mended: {wrong[:3]}")
        place.store.close()
        shutil.rmtree(directory)
        directory.mkdir()
        place = Place(directory)
    place.store.close()
    return tally


def main(words: list[str]) -> int:
    """Flip bits; the exit status is 0 if all were found and mended."""
    options = parser("bitflips", __doc__)
    options.add_argument("--places", type=int, default=500, help="number of changes (default: 500)")
    options.add_argument("--seed", type=int, default=1, help="seed for choosing the places (default: 1)")
    options.add_argument("--directory", help="where to make the store (default: a temporary directory)")
    chosen = options.parse_args(words)
    with tempfile.TemporaryDirectory(dir=chosen.directory, prefix="bitflips-") as scratch:
        store = Path(scratch, "store")
        store.mkdir()
        done = run(store, chosen.places, chosen.seed, lambda text: print(text, file=sys.stderr, flush=True))
    figures = [
        Figure(kind, f"{done.tried[kind]} tried, {done.found[kind]} found, {done.mended[kind]} mended")
        for kind in KINDS
        if done.tried[kind]
    ]
    total = done.tried.total()
    figures.append(Figure("flips in bytes of the graph's pages that nothing reads", str(done.in_vain)))
    for what, counted in (("found", done.found.total()), ("mended", done.mended.total())):
        figures.append(Figure(what, f"{counted} of {total}", str(total), counted == total))
    return report("bitflips", figures, as_json=chosen.json)
