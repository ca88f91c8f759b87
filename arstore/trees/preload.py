"""Early imports: everything that a confined worker would import late, before it gives up its privileges.

Afterwards it cannot open modules: a missing one then fails as a PermissionError in the middle of a layer. Commands that
read no layers do not pay for these modules.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.isolation import user_namespace
from arstore.tar import codec
from arstore.tar.codec import Compression

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.digest import Digest
    from arstore.trees.format import TreeFormat


def preload(*, heads: Iterable[bytes] = (), digests: Iterable[Digest] = (), forms: Iterable[TreeFormat] = ()) -> None:
    """Import and look up what is needed to read layers.

    *heads* are the first `codec.HEAD` bytes of the streams to decompress, *digests* those to verify, *forms* those of
    trees to build or look into.
    """
    for head in heads:
        codec.load(head)
    for algorithm in {digest.algorithm: digest for digest in digests}.values():
        algorithm.new_hash()
    if not user_namespace.is_initial():
        # Whether an owner exists is found in /proc, which a confined worker cannot read; the answer is kept.
        user_namespace.current()
    for module in dict.fromkeys(module for form in forms for module in form.modules):
        importlib.import_module(module)


def preload_codecs() -> None:
    """Import the decompressors of all compressions, for streams whose beginning cannot be read beforehand."""
    for compression in Compression:
        # A Python that was built without one of them can still read the others.
        with suppress(ImportError):
            if compression is not Compression.NONE:
                codec.codec(compression)
