"""Writing of a picture to a file, which is replaced when the new one is complete, or to stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import write_json, write_shown

if TYPE_CHECKING:
    from arstore.cli.session import Session


def write_picture(session: Session, file: str, content: bytes) -> None:
    """Write *content* to the path *file*, or to stdout for `-`. Raises HostError, OSError."""
    if file == "-":
        write_shown(content)
        return
    from arstore.linux.files.writing import write_all
    from arstore.transport.sinks.whole_file import WholeFile

    whole = WholeFile(os.path.realpath(file), file)
    try:
        write_all(whole.fd, content)
        whole.finish()
    finally:
        whole.close()
    if session.json:
        write_json({"file": file, "bytes": len(content)})
