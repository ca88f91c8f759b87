"""`--referrers` and `--no-referrers`: whether signatures, attestations and SBOMs come along with images."""

from __future__ import annotations

from typing import TypedDict

from arstore import errors
from arstore.cli.parameter import option

REFERRERS = (
    option("--referrers", is_flag=True, help="With a registry: take signatures, attestations and SBOMs along."),
    option("--no-referrers", is_flag=True, help="Leave them; between files and the store they come along otherwise."),
)
"""The options that say whether what is attached to images comes along."""


class ReferrersWords(TypedDict):
    """These options as they were typed."""

    referrers: bool
    no_referrers: bool


def wants_referrers(words: ReferrersWords) -> bool | None:
    """Return the meaning of the options; None if neither is given. Raises UsageError."""
    if words["referrers"] and words["no_referrers"]:
        raise errors.UsageError("--referrers", "and --no-referrers exclude each other")
    return False if words["no_referrers"] else words["referrers"] or None
