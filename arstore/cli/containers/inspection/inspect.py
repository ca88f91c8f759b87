"""`container inspect`: the details of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.images.inspect import show
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.listing import FORMAT_HELP

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("inspect")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-f", "--format", "template", metavar="FORMAT", help=FORMAT_HELP)
@option("-s", "--size", "sizes", is_flag=True, help="Also show the size of what the containers have written.")
@json_option
def container_inspect(session: Session, ids: tuple[str, ...], template: str | None, sizes: bool) -> None:
    """Show the details of containers.

    This is `arstore inspect --type container`.

    Example:

    arstore container inspect --format '{{.State.Status}}' web
    """
    show(session, ids, "container", template, sizes=sizes)
