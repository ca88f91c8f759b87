"""The caller's umask has no effect, even one that removes rights of the owner: modes are those of umask 022."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import budget, images, programs, treelist
from support.cli import REPOSITORY, Arstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USUAL = 0o022
UMASKS = (0o777, 0o177, 0o111, 0o077, 0)
FEW = (0o777, 0o177)
"""Commands for work that takes longer."""
NOBODY = 65534


def under(umask: int, *words: str) -> tuple[str, ...]:
    """Words that run *words*, and what follows them, with this umask."""
    return ("sh", "-c", f'umask {umask:03o}; exec "$@"', "sh", *words)


def modes(place: Path) -> dict[str, str]:
    """Type and mode of *place* and of every file below it."""
    found = {"": stat.filemode(place.stat().st_mode)}
    for directory, names, files in os.walk(place):
        for name in (*names, *files):
            path = Path(directory, name)
            found[str(path.relative_to(place))] = stat.filemode(path.lstat().st_mode)
    return found


def trees(directory: Path) -> list[str]:
    """Every file of a root file system, with its attributes."""
    return [f"{path!r} {entry}" for path, entry in sorted(treelist.listing(directory).items())]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that ordinary users can reach."""
    path = Path(tempfile.mkdtemp(prefix="arstore-umask-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def archive(place: Path) -> Path:
    path = images.write_oci_archive(place / "example.tar", images.example())
    path.chmod(0o644)
    return path


def same_under_all(work: Callable[[int], dict[str, object]], umasks: tuple[int, ...] = UMASKS) -> None:
    usual = work(USUAL)
    for umask in umasks:
        assert work(umask) == usual, f"under {umask:03o}"


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize(("form", "umask"), budget.one_of(3, itertools.product(["directory", "erofs"], FEW)))
def test_as_root(place: Path, archive: Path, form: str, umask: int) -> None:
    def work(umask: int) -> dict[str, object]:
        here = place / f"{umask:03o}"
        store = Arstore(here / "a/root", here / "b/run", under(umask))
        imported = store.json("import", "--tree", form, archive)["images"]
        (path,) = store.ok("mount", "--rw", "--name", "c", "example:1").text.splitlines()
        shown = trees(Path(path))
        (Path(path) / "made").write_text("x")
        store.ok("umount", path)
        store.ok("commit", "c", "committed:1")
        store.ok("unpack", "committed:1", here / "unpacked")
        store.ok("backup", here / "backup")
        store.ok("gc")
        store.ok("check")
        on_the_way = (here, here / "a", here / "b", here / "b/run")
        return {
            "images": [one["digest"] for one in imported],
            "shown": shown,
            "unpacked": modes(here / "unpacked"),
            "on the way": [stat.filemode(one.stat().st_mode) for one in on_the_way],
            "backup": {name: mode for name, mode in modes(here / "backup").items() if "sha256/" not in name},
            "store": private(here / "a/root"),
        }

    same_under_all(work, (umask,))


def private(root: Path) -> dict[str, str]:
    """The modes of the store's files, except those that are named by their content."""
    names = ["", "blobs", "blobs/sha256", "containers", "containers/c", "containers/c/upper", "containers/c/work"]
    names += ["graph", "graph/data.mdb", "graph/lock.mdb", "index.json", "ingest", "oci-layout", "trees"]
    found = {name: stat.filemode((root / name).stat().st_mode) for name in names}
    content = {stat.filemode(path.stat().st_mode) for path in (root / "blobs/sha256").iterdir()}
    kept = {f"{path.name} {stat.filemode(path.stat().st_mode)}" for path in (root / "trees").glob("*/*")}
    return {**found, "every blob": " ".join(sorted(content)), "every tree": " ".join(sorted(kept))}


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
def test_a_pipeline(place: Path, busybox: str) -> None:
    pipeline = place / "pipeline.tar.gz"
    subprocess.run([sys.executable, REPOSITORY / "tools" / "pipeline_image.py", pipeline], check=True)

    def work(umask: int) -> dict[str, object]:
        here = place / f"{umask:03o}"
        store = Arstore(here / "root", here / "run", under(umask))
        loaded = store.json("load", "--keep-images", "-i", pipeline)
        script = "umask; touch /made; mkdir /dir; stat -c %a /made /dir / /etc/hosts || ls -ld /made /dir"
        said = store.run("run", "--rm", "pipeline:latest", "/bin/busybox", "sh", "-c", script)
        return {
            "imported": [one["digest"] for one in loaded["imported"]],
            "directories": {p.name: stat.filemode(p.stat().st_mode) for p in (here / "root").glob("pipeline*/**/")},
            "said": (said.status, said.text),
        }

    same_under_all(work, FEW)


@pytest.mark.tools("setpriv")
def test_as_an_ordinary_user(place: Path, archive: Path) -> None:
    words: tuple[str, ...] = ()
    if programs.is_root():
        os.chown(place, NOBODY, NOBODY)
        words = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        probe = [*words, sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import lmdb, arstore"]
        if subprocess.run([*probe, str(REPOSITORY)], capture_output=True, check=False, cwd="/").returncode:
            pytest.skip("an ordinary user cannot run this Python or read this checkout")

    def work(umask: int) -> dict[str, object]:
        here = place / f"{umask:03o}"
        store = Arstore(here / "root", here / "run", under(umask, *words))
        (image,) = store.json("import", archive)["images"]
        store.ok("unpack", "example:1", here / "unpacked")
        store.ok("backup", here / "backup")
        store.ok("gc")
        store.ok("check")
        found = {name: mode for name, mode in modes(here / "root").items() if not name.startswith("blobs/sha256/")}
        return {"image": image["digest"], "unpacked": modes(here / "unpacked"), "root": found}

    same_under_all(work)
