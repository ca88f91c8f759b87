"""Layers that are not compressed: one file is the blob and the tree's tar, under two names (decision 76).

The blob's digest is the layer's diff ID then, so both files would have the same bytes. Where the file system cannot
link, there are two files.

A worker may write every file in its ingest. So a file that is published already never gets a name there while a worker
reads: the worker writes the tar again, and the link replaces it afterwards.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.store.ingest.layer_pass import tar_path
from arstore.trace import reached

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.store.ingest.layer_pass import LayerOutcome, LayerPass

_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})


def prepared(work: LayerPass, directories: Directories) -> LayerPass:
    """Return *work* with the tar linked to a blob that is in flight, if both are the same bytes.

    Makes the blob's file if the pass is to write it. Raises OSError.
    """
    tar = tar_path(work)
    if not tar or not _is_plain(work) or not work.blob.startswith(f"{directories.ingest}/"):
        return work
    if work.keep:
        os.close(os.open(work.blob, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if not _linked(work.blob, tar):
        if work.keep:
            os.unlink(work.blob)
        return work
    reached("take.tar-linked")
    return work._replace(is_linked=True)


def settle(work: LayerPass, outcome: LayerOutcome, directories: Directories) -> None:
    """After a pass: replace the tar that it wrote by a link to the blob in the store. Raises OSError."""
    tar = tar_path(work)
    if not tar or outcome.stat is None or not _is_plain(work) or work.blob != directories.blob(work.digest):
        return
    with suppress(FileNotFoundError):  # the blob was removed in the meantime: publication will notice
        if _linked(work.blob, f"{tar}.linked"):
            os.rename(f"{tar}.linked", tar)
            reached("take.tar-linked")


def _is_plain(work: LayerPass) -> bool:
    """Whether the blob has to be the uncompressed tar: a compressed one cannot have both digests."""
    return work.digest == work.diff_id


def _linked(path: str, name: str) -> bool:
    """Give *path* another *name*; return whether the file system can do that."""
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True
