"""`trim`: give up cached trees."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line
from arstore.cli.upkeep.plans import write_bound, write_freed

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.maintenance.trim import Goal


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
    from arstore.maintenance.records_bound import changed_by_trim, records_bound
    from arstore.maintenance.trim import plan_trim
    from arstore.maintenance.trim import trim as give_up

    goal = _goal(total, freed, age)
    with session.store() as store:
        done = plan_trim(store, goal) if dry_run else give_up(store, goal)
        bound = records_bound(store.directories, changed_by_trim(store, done.trees)) if dry_run else 0
        names = {str(image.digest): image.names for image in store.images()}
    session.done = "" if dry_run else f"freed {human_size(done.freed)}"
    if session.json:
        write_json(
            {"dry_run": dry_run, "images": done.images, "trees": done.trees, "freed": done.freed, "short": done.short}
        )
    else:
        for digest in done.images:
            write_line("image", *(names.get(digest) or [short_digest(digest)]))
        write_bound(bound)
        write_freed(done.freed, dry_run)
    if done.short:
        why = f"{human_size(done.short)} more would have to be freed, but no other tree can be given up"
        raise errors.BudgetError(store.directories.root, why, "`arstore du` shows what takes the space")


def _goal(total: str | None, freed: str | None, age: str | None) -> Goal:
    from arstore.maintenance.trim import Goal
    from arstore.runtime.spec.moments import parse_duration
    from arstore.runtime.spec.sizes import parse_size

    if total is not None and freed is not None:
        raise errors.UsageError("trim", "--to and --free exclude each other")
    return Goal(
        None if total is None else parse_size(total),
        None if freed is None else parse_size(freed),
        None if age is None else time.time() - parse_duration(age),
    )
