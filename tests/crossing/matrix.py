"""Every signer signs on every medium, and every verifier checks the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from interop.tools import FailedError, Runner
from support import images

from crossing.media import GPG, MEDIA, NO_PLACE, Place
from crossing.signers import NAME, SIGNERS, Bench, Signer, end_agent
from crossing.verifiers import VERIFIERS, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

GOOD, LIMIT, FAILED = "good", "limit", "failed"
"""Outcomes: accepted with the key and rejected with another; a limit that is known and named; anything else."""


class Cell(NamedTuple):
    """A verifier's result; `why` is the limit or the failure. `carried`: arstore copied the image to the medium."""

    signer: str
    medium: str
    verifier: str
    outcome: str
    why: str = ""
    carried: bool = False


def run(
    runner: Runner,
    host: str,
    signers: Sequence[type[Signer]] = SIGNERS,
    verifiers: Sequence[type[Verifier]] = VERIFIERS,
    tell: Callable[[str], object] = print,
) -> Iterator[Cell]:
    """Every cell for which *runner* has the tools. *host* is an empty registry."""
    picture = images.image(images.layer([images.file("who", b"signed")]), names=(NAME,))
    bench = Bench(runner, host, images.write_layout(runner.work / "image", picture))
    asked = [kind(bench) for kind in verifiers if all(map(runner.has, kind.programs))]
    for kind in signers:
        if not all(map(runner.has, kind.programs)):
            continue
        signer = kind(bench)
        try:
            for medium in MEDIA:
                tell(f"{signer.name}: {medium}")
                yield from _row(signer, medium, asked)
        finally:
            if signer.form == GPG:
                end_agent(bench, signer.directory)


def _row(signer: Signer, medium: str, asked: Sequence[Verifier]) -> Iterator[Cell]:
    nowhere = NO_PLACE.get((signer.form, medium))
    if nowhere:
        yield from (Cell(signer.name, medium, verifier.name, LIMIT, nowhere) for verifier in asked)
        return
    try:
        place = signer.place(medium)
    except FailedError as error:
        yield from (Cell(signer.name, medium, verifier.name, FAILED, f"signing: {error}") for verifier in asked)
        return
    for verifier in asked:
        outcome, why = _verdict(signer, place, verifier)
        yield Cell(signer.name, medium, verifier.name, outcome, why, place.carried)


def _verdict(signer: Signer, place: Place, verifier: Verifier) -> tuple[str, str]:
    """The outcome and why. A limit counts only if the verifier reports what is known of it."""
    limit = verifier.limit(signer.form, place)
    if limit is not None and not limit.said:
        return LIMIT, limit.why
    try:
        verifier.verify(signer.form, place, signer.keys.good)
    except FailedError as error:
        if limit is not None and limit.fits(str(error)):
            return LIMIT, limit.why
        return FAILED, str(error)
    try:
        verifier.verify(signer.form, place, signer.keys.other)
    except FailedError:
        return GOOD, ""
    return FAILED, "accepted with another key"
