"""Everything that a confined worker imports late, imported in one place, before it gives up its rights.

Afterwards it can open no module: what is missing then fails as a PermissionError in the middle of a layer. Commands
that read no layer never pay for these modules.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.tar import codec
from arstore.tar.codec import Compression

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.digest import Digest
    from arstore.trees.format import TreeFormat


def preload(*, heads: Iterable[bytes] = (), digests: Iterable[Digest] = (), forms: Iterable[TreeFormat] = ()) -> None:
    """Import what reading layers takes.

    *heads* are the first `codec.HEAD` bytes of the streams to be inflated, *digests* of what is to be hashed, *forms*
    those of trees to be made or looked into.
    """
    for head in heads:
        codec.load(head)
    for algorithm in {digest.algorithm: digest for digest in digests}.values():
        algorithm.new_hash()
    for module in dict.fromkeys(module for form in forms for module in form.modules):
        importlib.import_module(module)


def preload_codecs() -> None:
    """Import what undoes every compression, for streams of which nobody can see the beginning beforehand."""
    for compression in Compression:
        # A Python that was built without one of them reads the others.
        with suppress(ImportError):
            if compression is not Compression.NONE:
                codec.codec(compression)
