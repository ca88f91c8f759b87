"""`convert`: change the format of layer trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing, progress_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.trees.forms import AUTO, FORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session
    from arstore.maintenance.convert import Conversion
    from arstore.store.store import Store, StoredImage


@exit_statuses(*IMAGE_ERRORS, errors.InUseError, errors.MissingBlobError, errors.DigestMismatchError)
@needing(Need.OWNERS)
@command("convert")
@argument("images", metavar="[IMAGE]...", nargs=-1)
@option("--all", "everything", is_flag=True, help="Convert the trees of all images.")
@option(
    "--tree",
    type=Choice((AUTO, *FORMS)),
    help="The format to convert to: erofs is an index over the tar, directory is extracted files; by default auto.",
)
@option("-n", "--dry-run", is_flag=True, help="Only print what would be converted.")
@progress_option
@json_option
def convert(session: Session, images: tuple[str, ...], everything: bool, tree: str | None, dry_run: bool) -> None:
    """Convert layer trees between EROFS index and extracted files.

    A layer tree is what is kept of a layer for mounting. --tree auto converts to the format that this host would choose
    for new trees. Trees are rebuilt from the layers' blobs, one image at a time. A tree that a container, a mount or
    another process uses is not converted, nor is a layer that the format cannot represent. If an image cannot be
    converted, the others still are.

    Prints a line for each tree: the outcome, its key, and why it was not converted.

    Example:

    arstore convert --all --tree directory
    """
    from arstore.maintenance.convert import Fate, plan_conversion, target_forms
    from arstore.maintenance.convert import convert as convert_trees

    if bool(images) == everything:
        raise errors.UsageError("convert", "give either images or --all")
    done: list[Conversion] = []
    with session.store() as store:
        chosen = _chosen(store, images)
        forms = target_forms(store, tree or "")
        if dry_run:
            done.extend(plan_conversion(store, chosen, forms[0].name))
            _show(session, done)
        else:
            with session.progress() as progress:
                for one in convert_trees(store, chosen, forms, progress):
                    done.append(one)
                    _show(session, [one])
    session.done = "" if dry_run else f"{len(done)} trees were examined, and converted where possible"
    if session.json:
        trees = [{"key": one.key, "outcome": one.outcome.value, "form": one.form, "why": one.why} for one in done]
        write_json({"form": forms[0].name, "dry_run": dry_run, "trees": trees})
    for one in done:
        if one.error is not None:
            raise one.error
        if one.outcome is Fate.IN_USE:
            raise errors.InUseError(f"tree {one.key}", one.why, one.hint)


def _chosen(store: Store, texts: Sequence[str]) -> list[StoredImage]:
    """Return the images that *texts* name, or all images if there are none; an index is replaced by its images."""
    chosen: dict[str, StoredImage] = {}
    todo = list(map(store.find, texts)) if texts else store.images()
    seen: set[str] = set()
    while todo:
        image = todo.pop(0)
        if image.digest in seen:
            continue
        seen.add(image.digest)
        if image.home is not None:
            from arstore.store.elsewhere import refuse_change

            refuse_change(image.label, image.home)
        if image.record.is_index:
            todo += map(store.find, image.record.manifests)
        else:
            chosen[image.digest] = image
    return list(chosen.values())


def _show(session: Session, done: Sequence[Conversion]) -> None:
    if not session.json:
        for one in done:
            write_line(one.outcome.value, one.key, *([one.why] if one.why else []))
