"""Check quickly whether a policy file accepts every image, without parsing it as a policy.

Most hosts have the file of their distribution, which accepts everything. This check takes a fraction of a millisecond
and loads nothing else of this package. Any other file is left to `document`.
"""

from __future__ import annotations

import json
from typing import Any

_ACCEPTS = [{"type": "insecureAcceptAnything"}]
_LARGEST = 1 << 16


def accepts_everything(data: bytes) -> bool:
    """Whether *data* is a valid policy in which every list of requirements is just `insecureAcceptAnything`.

    False for everything else, valid or not.
    """
    if len(data) > _LARGEST:
        return False
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or document.keys() - {"default", "transports"}:
        return False
    transports = document.get("transports", {})
    return (
        document.get("default") == _ACCEPTS
        and isinstance(transports, dict)
        and all(
            isinstance(scopes, dict) and all(scope == "" and list_ == _ACCEPTS for scope, list_ in scopes.items())
            for scopes in transports.values()
        )
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
