"""Reading every byte of a file once, without throwing what others read out of the page cache.

Where the kernel cannot read so (before Linux 6.14, and on some file systems), the file is forgotten after it was read.
What the page cache holds of a file is what is read, here as everywhere: damage of a medium below it shows once the
cache lets go of the file.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.linux.files.reading import drop_from_cache, read_uncached

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_buffer = bytearray(CHUNK)


def chunks(fd: int, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
    """The bytes of the regular file *fd* from *start* to *end*, by default its own; each valid until the next.

    Raises OSError.
    """
    offset = start
    uncached = True
    while end is None or offset < end:
        room = memoryview(_buffer)[: CHUNK if end is None else min(CHUNK, end - offset)]
        if uncached:
            try:
                count = read_uncached(fd, room, offset)
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    raise
                uncached = False
                continue
        else:
            count = os.preadv(fd, [room], offset)
        if not count:
            break
        offset += count
        yield room[:count]
    if not uncached:
        drop_from_cache(fd)
