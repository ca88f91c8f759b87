"""Apply the signature policy: it decides which images may be imported, copied or used, before they are trusted.


    gate         `Gate`: judges the images of one source, after their manifests are read and before their configs
    signatures   the signatures of an image, from the attachments in a source or a store
    kept         verdicts that the store keeps for its images; they are checked before an image is run or mounted
    explain      the same verdicts as data

The policy itself, its file, and the cryptography are in `trust`, which does not know sources or stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.transport.admission.gate import Gate
    from arstore.transport.source import ImageSource
    from arstore.trust.rules import Rules


def gate_for(
    rules: Rules, source: ImageSource, place: str = "", release: Callable[[], object] = lambda: None
) -> Gate | None:
    """The gate of *source*; None, and nothing is loaded, if *rules* accept every image. Raises PolicyError."""
    if rules.is_open:
        return None
    from arstore.transport.admission.gate import Gate

    return Gate(rules, source, place, release)
