"""The names of the files in the directory of a tree of the index form, and of a merged index."""

from __future__ import annotations

INDEX = "layer.erofs"
"""The index."""
TAR = "layer.tar"
"""The layer's uncompressed tar, which the index points into."""
MERGED = "merged.erofs"
"""A merged index, alone in its tree's directory."""
UUID_OFFSET = 1024 + 48
"""Where both kinds of index have their uuid."""
