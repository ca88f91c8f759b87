"""`man`: write the manual pages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option, unconfigured
from arstore.cli.parameter import FilePath, argument
from arstore.cli.terminal.output import write_json, write_line
from arstore.errors import NotFoundError, from_os_error

if TYPE_CHECKING:
    from arstore.cli.session import Session


@unconfigured
@exit_statuses(NotFoundError)
@command("man")
@argument("directory", metavar="DIR", type=FilePath())
@json_option
def man(session: Session, directory: str) -> None:
    """Write the manual pages to a directory.

    DIR is a directory of man(1)'s search path, such as /usr/local/share/man; it is created if it does not exist. The
    pages arstore(1) and arstore-COMMAND(1) are written to DIR/man1, and replace those of an earlier version. They have
    the same texts as --help. The date in them is SOURCE_DATE_EPOCH, or else today.

    Prints the path of each page.

    Example:

    arstore man ~/.local/share/man
    """
    from arstore.cli.main import cli
    from arstore.cli.manual.pages import pages

    place = os.path.join(directory, "man1")
    written = []
    for name, text in pages(cli):
        path = os.path.join(place, name)
        try:
            os.makedirs(place, exist_ok=True)
            _replace(path, text)
        except OSError as error:
            raise from_os_error(error, path) from error
        written.append(path)
        session.done = f"{len(written)} pages were written to {place}"
    if session.json:
        write_json({"pages": written})
        return
    for path in written:
        write_line(path)


def _replace(path: str, text: str) -> None:
    """Write a file that all users can read, in place of an earlier one. Raises OSError."""
    from arstore.linux.files.writing import replace_file

    temporary = f"{path}.new"
    replace_file(path, text.encode(), temporary, written=lambda: os.chmod(temporary, 0o644))
