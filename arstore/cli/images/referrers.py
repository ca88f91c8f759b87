"""`--referrers` and `--no-referrers`: whether signatures, attestations and SBOMs are copied with their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.parameter import option

if TYPE_CHECKING:
    from typing import TypedDict

    class ReferrersWords(TypedDict):
        """These options as they were typed."""

        referrers: bool
        no_referrers: bool


REFERRERS = (
    option("--referrers", is_flag=True, help="With a registry: also copy signatures, attestations and SBOMs."),
    option(
        "--no-referrers",
        is_flag=True,
        help="Do not copy signatures, attestations and SBOMs. The default: copy them, unless a registry is involved.",
    ),
)
"""The options that decide whether attachments are copied with their images."""


def wants_referrers(words: ReferrersWords) -> bool | None:
    """Return the meaning of the options; None if neither is given. Raises UsageError."""
    if words["referrers"] and words["no_referrers"]:
        raise errors.UsageError("--referrers", "and --no-referrers exclude each other")
    return False if words["no_referrers"] else words["referrers"] or None
