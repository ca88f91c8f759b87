"""Chain IDs: the identity of a layer together with its parents (image-spec config.md, "Layer ChainID")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return the chain ID of each layer, bottom first; as many as there are diff IDs.

    The bottom layer's is its diff ID; each other is the SHA-256 of `PARENT_CHAIN_ID DIFF_ID`.
    """
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(child_chain_id(chain[-1] if chain else None, diff_id))
    return tuple(chain)


def child_chain_id(parent: Digest | None, diff_id: Digest) -> Digest:
    """Return the chain ID of the layer *diff_id* on top of the chain *parent*, which is None for the bottom layer."""
    return diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode("ascii"))
