"""Read every byte of a file once, without evicting other files from the page cache.

Where the kernel cannot read this way (before Linux 6.14, and on some file systems), the file is dropped from the cache
after reading. Bytes in the page cache are read from there, as always: damage of the medium below shows only once the
cache has dropped the file.
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
    """Yield the bytes of the regular file *fd* from *start* to *end* (default: its end); each is valid until the next.

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
