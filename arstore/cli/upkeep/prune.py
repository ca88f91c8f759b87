"""`prune`, `protect` and `unprotect`: remove images by their last use, and keep some from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import human_size, write_json, write_line
from arstore.cli.upkeep.plans import write_freed, write_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.store import Store
    from arstore.cli.session import Session


@exit_statuses(errors.InUseError)
@needing(Need.REMOVAL)
@command("prune")
@option("--unused-for", "age", metavar="AGE", help="Images that were not used for AGE, such as 12h, 30d or 2w.")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@json_option
def prune(session: Session, age: str | None, dry_run: bool) -> None:
    """Remove images that were not used for a time.

    The last use of an image is the last time that it was imported, mounted, unpacked or run, to the hour. Images that
    are protected or in use stay, and so do the images of an index that stays. What only the removed images need is
    removed too. `arstore trim` gives up cached trees instead, and removes no image.

    Prints each image that was removed with its names, and the disk space that was freed.

    Examples:

    arstore prune --unused-for 30d --dry-run

    arstore prune --unused-for 30d
    """
    from arstore.runtime.spec.moments import parse_duration

    if age is None:
        hint = "`arstore gc` removes images without a name, and everything else that is not in use"
        raise errors.UsageError("prune", "needs --unused-for", hint)
    seconds = parse_duration(age)
    with session.library() as store:
        names = {image.digest: list(image.names) for image in store.images()}
        done = store.prune(seconds, dry_run=dry_run)
    session.done = "" if dry_run else f"freed {human_size(done.freed)}"
    if session.json:
        removed = [{"digest": digest, "names": names.get(digest, [])} for digest in done.images]
        parts = {"parts": done.parts} if dry_run else {}
        write_json({"dry_run": dry_run, "removed": removed, "freed": done.freed, **parts})
        return
    for digest in done.images:
        write_line("removed", digest, *names.get(digest, []))
    if dry_run:
        write_parts(done.parts, done.bound)
    write_freed(done.freed, dry_run)


@exit_statuses(*IMAGE_ERRORS)
@command("protect")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
def protect(session: Session, images: tuple[str, ...]) -> None:
    """Keep images from gc and prune.

    Each IMAGE is named as for `arstore rm`. A protected image stays even without a name. `arstore rm` still removes it.
    An index is protected together with its images. `arstore images` shows what is protected. The key `protect` of the
    configuration protects images by patterns of their names.

    Prints the digests.

    Example:

    arstore protect base:1
    """
    with session.library() as store:
        digests = store.protect(*images)
    session.done = "the images are protected"
    _write(session, "protected", digests)


@exit_statuses(*IMAGE_ERRORS)
@command("unprotect")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
def unprotect(session: Session, images: tuple[str, ...]) -> None:
    """End the protection of images.

    Images that the key `protect` of the configuration protects stay protected; a line on stderr names each.

    Prints the digests of those that were protected.

    Example:

    arstore unprotect base:1
    """
    with session.library() as store:
        digests = store.unprotect(*images)
        _warn_of_patterns(session, store, images)
    session.done = "the images are not protected any more"
    _write(session, "unprotected", digests)


def _warn_of_patterns(session: Session, store: Store, images: tuple[str, ...]) -> None:
    """Print a warning for each of *images* that a pattern protects."""
    kept = store.protected()
    for text in images if kept else ():
        if store.image(text).digest in kept:
            place = "" if session.settings is None else session.settings.origins.get("protect", "")
            session.warn(f"{text}: stays protected by a pattern in {place}")


def _write(session: Session, word: str, digests: Sequence[str]) -> None:
    if session.json:
        write_json({word: digests})
        return
    for digest in digests:
        write_line(digest)
