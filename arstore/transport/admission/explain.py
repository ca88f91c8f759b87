"""Verdicts of a policy on the images of a source, for `policy explain` and `verify`. Nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.admission.gate import Gate
from arstore.transport.selection.selector import Selector, Wanted
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.transport.source import ImageSource
    from arstore.trust.policy.verdict import Verdict
    from arstore.trust.rules import Rules


class Judged(NamedTuple):
    """An image that would be taken: its manifest's digest, its names, and the verdict on it."""

    digest: str
    names: tuple[str, ...]
    verdict: Verdict


def judge_source(
    source: ImageSource, place: str, wanted: Wanted, rules: Rules, limits: Limits = DEFAULT_LIMITS
) -> list[Judged]:
    """Judge each image of *source* that is *wanted*; *place* is its path, as for `Gate`.

    Raises PolicyError, and the errors of the source and of `Selector`.
    """
    gate = Gate(rules, source, place, explains=True)
    selection = Selector(source, wanted, limits, gate=gate).select()
    return [Judged(image.digest, image.names, gate.verdicts[image.digest]) for image in selection.images.values()]
