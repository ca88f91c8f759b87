"""Member names: from the bytes of an archive to a path inside a layer.

The result is relative to the layer's root, without `.`, `..`, empty components, and slashes at either end; the root is
b"". `..` is resolved lexically, as filepath.Clean of Go does for all tools that read layers. A name that would leave
the root is refused. Not here: symlinks in the path, which only a tree can follow.
"""

from __future__ import annotations

from arstore.errors import LimitError, TarError, UnsafePathError
from arstore.tar.entry import shown
from arstore.tar.limits import DEFAULT_LIMITS, Limits

NAME_MAX = 255
"""Bytes of one component: the kernel's NAME_MAX."""


def normalised(raw: bytes, limits: Limits = DEFAULT_LIMITS, what: str = "") -> bytes:
    """Return the path that *raw* names.

    Raises TarError for an empty name, a NUL, or a component over 255 bytes; UnsafePathError for a name that leaves the
    root; LimitError for a path that is too long or too deep.
    """
    # Nearly all names take this branch: nothing to resolve, and too short to exceed a limit.
    path = raw.removeprefix(b"./").removesuffix(b"/")
    if (
        path
        and len(path) <= NAME_MAX <= limits.path
        and path[0] != 0x2E
        and path[0] != 0x2F
        and b"/." not in path
        and b"//" not in raw
        and b"\0" not in path
        and limits.depth >= NAME_MAX
    ):
        return path
    return _resolved(raw, limits, what)


def _resolved(raw: bytes, limits: Limits, what: str) -> bytes:
    if not raw:
        raise TarError(what, "a member has an empty name")
    if b"\0" in raw:
        raise TarError(what, f"the name {excerpt(raw)} contains a NUL")
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            if not parts:
                raise UnsafePathError(what, f"the name {excerpt(raw)} leaves the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
            if len(part) > NAME_MAX:
                raise TarError(what, f"a component of the name {excerpt(raw)} has more than {NAME_MAX} bytes")
    path = b"/".join(parts)
    if len(path) > limits.path:
        raise LimitError(what, f"the name {excerpt(raw)} has more than {limits.path} bytes")
    if len(parts) > limits.depth:
        raise LimitError(what, f"the name {excerpt(raw)} has more than {limits.depth} components")
    return path


def excerpt(name: bytes) -> str:
    """Return *name* for a message, shortened if it is long."""
    return shown(name) if len(name) <= 120 else shown(name[:100]) + "..."
