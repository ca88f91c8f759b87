"""Ids and mounts that an ordinary user gets in a user namespace, and the reasons for what is missing."""

from __future__ import annotations

import os
from typing import Any

from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.trial import inside


def namespaces() -> dict[str, Any] | None:
    """Return what a user namespace gives this user; None for the host's root, who needs none. May fork.

    `kind` is `entered` where commands enter one by themselves, `inside` for a process that is in one. `owners` is the
    number of user ids that files can have there, `why` the reason why it is 0 or 1, and `overlay` the reason why
    overlayfs cannot be mounted there.
    """
    if os.geteuid():
        found = inside()
        why = found.why or found.single
        return {
            "kind": "entered",
            "possible": found.possible,
            "owners": found.uids,
            "groups": found.gids,
            "why": why,
            "hint": found.hint,
            "overlay": found.overlay,
        }
    if user_namespace.is_initial():
        return None
    maps = user_namespace.current()
    counts = [sum(one.length for one in ranges) for ranges in maps]
    owns = user_namespace.owns_mounts()
    overlay = "" if owns else "the mount namespace belongs to another user namespace"
    why = "the namespace maps one id" if maps.is_single else ""
    return {
        "kind": "inside",
        "possible": True,
        "owners": counts[0],
        "groups": counts[1],
        "why": why,
        "hint": "",
        "overlay": overlay,
    }
