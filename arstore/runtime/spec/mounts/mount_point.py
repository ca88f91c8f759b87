"""Mount points in a container."""

from __future__ import annotations

import os

from arstore.errors import UsageError


def clean_destination(path: str, what: str) -> str:
    """Return a mount point in the container: absolute, without `.`, `..` or doubled slashes, and not the root.

    Raises UsageError.
    """
    if not path.startswith("/"):
        raise UsageError(_shown(what), "the place in the container must be an absolute path")
    clean = os.path.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise UsageError(_shown(what), "nothing can be mounted over the container's root")
    return clean


def _shown(text: str) -> str:
    from arstore.oci.document import shown

    return shown(text)
