"""A spool for copies without a store: nameless files in the directory for temporary files."""

from __future__ import annotations

import os


class TemporarySpool:
    """Files that are gone when they are closed, in TMPDIR, or by default in /var/tmp, which is usually on disk."""

    def create(self) -> int:
        """A descriptor, open for reading and writing, of a new file without a name. Raises OSError."""
        import tempfile

        parent = None if os.environ.get("TMPDIR") or not os.path.isdir("/var/tmp") else "/var/tmp"
        fd, path = tempfile.mkstemp(prefix="arstore-", dir=parent)
        os.unlink(path)
        return fd

    def relieve(self, _lacking: int, /) -> int:
        """Return 0: nothing here can be given up."""
        return 0
