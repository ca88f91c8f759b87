"""`trim`: give up cached trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line
from arstore.cli.upkeep.plans import write_bound, write_freed

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(errors.BudgetError)
@needing(Need.REMOVAL)
@command("trim")
@option("--to", "total", metavar="SIZE", help="Until the whole store takes at most SIZE, such as 20g.")
@option("--free", "freed", metavar="SIZE", help="Until SIZE is freed.")
@option("--unused-for", "age", metavar="AGE", help="Only trees that were not used for AGE, such as 12h, 30d or 2w.")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be given up.")
@json_option
def trim(session: Session, total: str | None, freed: str | None, age: str | None, dry_run: bool) -> None:
    """Give up cached layer trees; no image is lost.

    A tree is what a layer is mounted from. It is made from the layer's blob, and the next mount or run of its image
    makes it again, which takes about as long as an import. Trees that were not used for longest go first. Without an
    option, all go that are not in use by a container, a mount or another process.

    The last use of an image is the last time that it was imported, mounted, unpacked or run, to the hour.

    Prints a line for each image that lost trees, and the disk space that was freed. If the size cannot be reached, the
    exit status is 36.

    Examples:

    arstore trim --unused-for 30d

    arstore trim --to 20g --dry-run
    """
    total_bytes, freed_bytes, seconds = _size(total), _size(freed), _age(age)
    with session.library() as store:
        done = store.trim(total=total_bytes, freed=freed_bytes, unused_for=seconds, dry_run=dry_run)
        names = {image.digest: image.names for image in store.images()}
    session.done = "" if dry_run else f"freed {human_size(done.freed)}"
    if session.json:
        write_json(
            {"dry_run": dry_run, "images": done.images, "trees": done.trees, "freed": done.freed, "short": done.short}
        )
    else:
        for digest in done.images:
            write_line("image", *(names.get(digest) or [short_digest(digest)]))
        write_bound(done.bound)
        write_freed(done.freed, dry_run)
    if done.short:
        why = f"{human_size(done.short)} more would have to be freed, but no other tree can be given up"
        raise errors.BudgetError(store.root, why, "`arstore du` shows what takes the space")


def _size(text: str | None) -> int | None:
    from arstore.runtime.spec.sizes import parse_size

    return None if text is None else parse_size(text)


def _age(text: str | None) -> float | None:
    from arstore.runtime.spec.moments import parse_duration

    return None if text is None else parse_duration(text)
