"""Every target on its corpus and its seeds; and a short run under atheris, if it is installed, without findings."""

from __future__ import annotations

import random

import pytest
from reliability import fuzzing as exercise
from support import tarblocks

from arstore.trees.erofs import format as layout
from fuzzing import checksum, mutators
from fuzzing.broken import TARGET as BROKEN
from fuzzing.target import CORPUS, Target
from fuzzing.targets import TARGETS

SHORT = ("tar", "manifest")


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_uncaught_comes_of_the_corpus(name):
    target = TARGETS[name]
    for data in (*target.seeds(), *(path.read_bytes() for path in target.corpus()), b"", b"\0", b"[", b"{}"):
        target(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_gets_through(name):
    """Targets that refuse everything would find nothing."""
    target = TARGETS[name]
    assert any(_gets_through(target, data) for data in target.seeds())
    assert all(len(data) <= target.longest for data in target.seeds())


def _gets_through(target: Target, data: bytes) -> bool:
    try:
        target.run(data)
    except Exception:
        return False
    return True


def test_the_corpus_is_small_and_belongs_to_targets():
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) < 400
    assert sum(path.stat().st_size for path in files) < 1 << 20
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


def test_what_is_uncaught_is_not_swallowed():
    def fails(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        Target("x", fails, lambda: [b""])(b"")
    Target("x", fails, lambda: [b""], documented=(KeyError,))(b"")


def test_a_tar_keeps_its_checksums_when_it_is_mutated():
    data = tarblocks.member(b"a", b"1") + tarblocks.member(b"b", b"2") + tarblocks.END
    chance = random.Random(3)
    sound = []
    for _ in range(200):
        made = mutators.tar(data, 4096, chance, lambda given, most: given[:most])
        blocks = [made[at : at + 512] for at in mutators.headers(made) if made[at]]
        sound += [tarblocks.summed(block) == block for block in blocks]
    assert sum(sound) > 0.8 * len(sound) > 300


def test_the_quick_checksum_is_the_checksum():
    quick = checksum.summed(layout.checksum)
    chance = random.Random(5)
    for share in (0, 0.1, 0.5, 1):
        for _ in range(20):
            block = bytes(chance.randrange(256) if chance.random() < share else 0 for _ in range(layout.BLOCK))
            assert quick(block) == quick(bytearray(block + b"more")) == layout.checksum(block)


@pytest.mark.skipif(bool(exercise.why_not()), reason=exercise.why_not() or "atheris is there")
@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_finds_nothing(name, tmp_path):
    outcome = exercise.run(TARGETS[name], 3000, tmp_path, seed=7, seconds=2)
    assert not outcome.died
    assert not outcome.exceptions
    assert outcome.executions > 0


@pytest.mark.skipif(bool(exercise.why_not()), reason=exercise.why_not() or "atheris is there")
def test_a_run_tells_what_it_found(tmp_path):
    """The engine on a target that fails for some inputs: exceptions are counted, and the run goes on."""
    outcome = exercise.run(BROKEN, 500, tmp_path, seed=7)
    assert outcome.executions >= 500
    assert any(place.startswith("BrokenOnPurposeError") for place in outcome.exceptions)
    assert not exercise.figure(outcome, 500).met
    assert list((tmp_path / "findings").glob("found-*"))
