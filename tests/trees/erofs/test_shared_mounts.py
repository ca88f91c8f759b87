"""Mounts that processes share: which mounts are cloned, and which must not be."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import features, images
from support.waiting import PATIENCE
from trees.erofs.trees import built, mountable

from arstore.linux.process import boot_id
from arstore.mounts.leftovers import leftovers, remove_leftover
from arstore.trees.erofs.mounting import _origin, lower_directory, mounted
from arstore.trees.erofs.shared_mounts import SharedMounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trees.format import LowerDirectory, Origin

REPOSITORY = Path(__file__).parents[3]
MEMBERS = [images.directory("./"), images.file("f", b"content" * 10_000)]
pytestmark = [
    mountable,
    pytest.mark.skipif(
        not (features.detached_clones() and features.layers_by_fd()),
        reason="the kernel clones no detached mounts (before 6.15)",
    ),
]

HOLDER = """
import os, sys
from arstore.trees.erofs.mounting import lower_directory
from arstore.trees.erofs.shared_mounts import SharedMounts
shared = SharedMounts(sys.argv[1])
with lower_directory(sys.argv[2], shared=shared) as lower:
    with shared.offered([(lower.fd, lower.origin)]):
        print(os.fstat(lower.fd).st_dev, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path / "run"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    with built(tmp_path / "tree", MEMBERS):
        yield tmp_path / "tree"


@contextlib.contextmanager
def holder(run: Path, tree: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds a mount of *tree*, and the device of that mount."""
    words = [sys.executable, "-c", HOLDER, str(run), str(tree)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        if process.poll() is None:
            process.communicate("\n", timeout=PATIENCE)


def device(run: Path, tree: Path) -> int:
    """The device of a mount that is made now, whose content was read."""
    with lower_directory(str(tree), shared=SharedMounts(str(run))) as lower:
        assert Path(f"/proc/self/fd/{lower.fd}/f").read_bytes() == b"content" * 10_000
        return os.fstat(lower.fd).st_dev


def entries(run: Path) -> list[Path]:
    return sorted(run.glob("shared/*/*"))


def test_what_a_live_process_holds_is_cloned_and_outlives_it(run: Path, tree: Path) -> None:
    with holder(run, tree) as (process, first):
        with lower_directory(str(tree), shared=SharedMounts(str(run))) as lower:
            assert os.fstat(lower.fd).st_dev == first
            process.communicate("\n", timeout=PATIENCE)
            assert Path(f"/proc/self/fd/{lower.fd}/f").read_bytes() == b"content" * 10_000
        assert not entries(run)
    assert list((run / "shared").iterdir()) == []


def test_a_clone_can_be_offered_on(run: Path, tree: Path) -> None:
    shared = SharedMounts(str(run))
    with contextlib.ExitStack() as stack:
        with holder(run, tree) as (_, first):
            lower = stack.enter_context(lower_directory(str(tree), shared=shared))
            stack.enter_context(shared.offered(offer(lower)))
        assert len(entries(run)) == 1
        with holder(run, tree) as (_, second):
            assert first == second


def offer(lower: LowerDirectory) -> list[tuple[int, Origin]]:
    assert lower.origin is not None
    return [(lower.fd, lower.origin)]


def test_a_killed_holder_is_no_holder(run: Path, tree: Path) -> None:
    with holder(run, tree) as (process, first):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(entries(run)) == 1
        names = leftovers(str(run))
        assert [run / name for name in names] == entries(run)
        with holder(run, tree) as (_, second):
            # The process that met the stale entry has removed it, and made a new one.
            assert len(entries(run)) == 1
            assert leftovers(str(run)) == []
            assert device(run, tree) == second
    assert first


def test_gc_removes_what_killed_holders_left_and_nothing_else(run: Path, tree: Path, tmp_path: Path) -> None:
    with built(tmp_path / "other", MEMBERS), holder(run, tmp_path / "other") as (_, alive):
        with holder(run, tree) as (process, _):
            process.kill()
            process.wait()
        for name in leftovers(str(run)):
            remove_leftover(str(run), name)
        assert [path.parent.name for path in entries(run)] == ["other"]
        assert [path.name for path in (run / "shared").iterdir()] == ["other"]
        assert device(run, tmp_path / "other") == alive


def test_a_tree_that_was_made_anew_is_not_taken_for_the_old_one(run: Path, tree: Path, tmp_path: Path) -> None:
    with holder(run, tree) as (_, old):
        os.rename(tree, tmp_path / "old")
        with built(tree, MEMBERS):
            assert device(run, tree) != old
        shutil.rmtree(tree)
        os.rename(tmp_path / "old", tree)
        assert device(run, tree) == old


@pytest.mark.parametrize("what", ["other mount", "directory", "pid", "boot", "words", "numbers", "plain file"])
def test_entries_that_lie(run: Path, tree: Path, tmp_path: Path, what: str) -> None:
    with holder(run, tree) as (_, first), built(tmp_path / "else", [images.directory("./")]):
        (true,) = entries(run)
        mount_id, pid, fd = true.name.split(".")
        text = os.readlink(true)
        true.unlink()
        other = mounted(str(tmp_path / "else"))
        here = os.open(tree, os.O_PATH)
        try:
            names = {
                "other mount": f"{mount_id}.{os.getpid()}.{other}",
                "directory": f"{mount_id}.{os.getpid()}.{here}",
                "pid": f"{mount_id}.{1 << 22}.{fd}",
                "words": f"{mount_id}.{pid}.../../self/fd/{fd}".replace("/", "\\"),
                "numbers": f"{mount_id}{'9' * 200}.{pid}.{fd}",
            }
            path = true.with_name(names.get(what, true.name))
            if what == "plain file":
                path.write_text(text)
            else:
                path.symlink_to(text.replace(boot_id(), "0" * 36) if what == "boot" else text)
            assert device(run, tree) != first
        finally:
            os.close(other)
            os.close(here)
        shutil.rmtree(true.parent)
        true.parent.mkdir(mode=0o700)
        true.symlink_to(text)
        assert device(run, tree) == first


@pytest.mark.parametrize("place", ["", "shared", "shared/tree"])
def test_a_runroot_that_others_can_write_to_is_not_believed(run: Path, tree: Path, place: str) -> None:
    with holder(run, tree) as (_, first):
        path = run / place
        path.chmod(0o770)
        assert device(run, tree) != first
        path.chmod(0o700)
        os.chown(path, 65534, 0)
        assert device(run, tree) != first
        os.chown(path, 0, 0)
        assert device(run, tree) == first


def test_an_entry_of_somebody_elses_is_not_believed(run: Path, tree: Path) -> None:
    with holder(run, tree) as (_, first):
        (entry,) = entries(run)
        os.lchown(entry, 65534, 65534)
        assert device(run, tree) != first


def test_without_a_place_to_look_trees_are_mounted_anew(tree: Path) -> None:
    with lower_directory(str(tree)) as lower:
        assert lower.origin is None


def test_a_mount_of_another_index_is_not_taken_even_if_all_else_is_said_of_it(
    run: Path, tree: Path, tmp_path: Path
) -> None:
    shared = SharedMounts(str(run))
    with built(tmp_path / "else", [images.directory("./")]):
        true = _origin(str(tree))
        assert true is not None
        other = mounted(str(tmp_path / "else"))
        try:
            with shared.offered([(other, true)]):
                assert device(run, tree) != os.fstat(other).st_dev
                assert shared.clone(true) is None
        finally:
            os.close(other)
