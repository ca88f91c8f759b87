"""When images were last used: a hint for each image, as seconds since the epoch, at most hourly.

An import counts as a use; its time is in the image's record. Mounting, running and unpacking are recorded afterwards,
in a separate transaction whose failure is ignored: images can be used when the disk is full, and in stores that may
only be read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore.builtin import suppress
from arstore.errors import ArstoreError
from arstore.graph.hints import hint, hints, put_hint

if TYPE_CHECKING:
    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store, StoredImage

TABLE = "used"
GRAIN = 3600.0
"""Seconds: a use is recorded if the last one on record is older."""


def note_use(store: Store, image: StoredImage) -> None:
    """Record that *image* is used now, if possible. The graph may be open or not, and is as before afterwards."""
    if image.home is not None:
        return
    now = time.time()
    with suppress(ArstoreError, OSError):
        with store.graph.read() as snapshot:
            record = snapshot.image(image.digest)
            imported = 0.0 if record is None else record.imported
            known = (imported, _seconds(hint(snapshot, TABLE, image.digest)))
            if any(abs(now - moment) < GRAIN for moment in known):
                return
        with store.graph.write() as change:
            if change.image(image.digest) is not None:
                put_hint(change, TABLE, image.digest, str(int(now)))


def last_uses(snapshot: Snapshot) -> dict[str, float]:
    """Return the recorded last use of each image that has one, in seconds since the epoch."""
    return {one.subject: _seconds(one.text) for one in hints(snapshot, TABLE)}


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and text.isascii() and len(text) <= 12 else 0.0
