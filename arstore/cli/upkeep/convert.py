"""`convert`: trees from one form to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    command,
    exit_statuses,
    json_option,
    progress_option,
)
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.trees.forms import AUTO, FORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session
    from arstore.maintenance.convert import Conversion
    from arstore.store.store import Store, StoredImage


@exit_statuses(*IMAGE_ERRORS, errors.InUseError, errors.MissingBlobError, errors.DigestMismatchError)
@command("convert")
@argument("images", metavar="[IMAGE]...", nargs=-1)
@option("--all", "everything", is_flag=True, help="All images.")
@option(
    "--tree",
    type=Choice((AUTO, *FORMS)),
    default=AUTO,
    show_default=True,
    help="The form that the trees are to have.",
)
@option("-n", "--dry-run", is_flag=True, help="Only tell what would be converted.")
@progress_option
@json_option
def convert(session: Session, images: tuple[str, ...], everything: bool, tree: str, dry_run: bool) -> None:
    """Give the trees of images the other form.

    auto is the form that this host would choose for new trees now. Trees are made anew from the layers' blobs, an image
    at a time. What a container, a mount or another process stands on stays as it is, and so does a layer that the
    form cannot represent; all others are converted, also after an image that cannot be.

    Prints a line a tree: what became of it, its key, and why it is not converted.
    """
    from arstore.maintenance.convert import Fate, plan_conversion, target_forms
    from arstore.maintenance.convert import convert as convert_trees

    if bool(images) == everything:
        raise errors.UsageError("convert", "wants images, or --all")
    done: list[Conversion] = []
    with session.store() as store:
        chosen = _chosen(store, images)
        forms = target_forms(store, tree)
        if dry_run:
            done.extend(plan_conversion(store, chosen, forms[0].name))
            _show(session, done)
        else:
            with session.progress() as progress:
                for one in convert_trees(store, chosen, forms, progress):
                    done.append(one)
                    _show(session, [one])
    session.done = "" if dry_run else f"{len(done)} trees were looked at and, where that could be done, converted"
    if session.json:
        trees = [{"key": one.key, "outcome": one.outcome.value, "form": one.form, "why": one.why} for one in done]
        write_json({"form": forms[0].name, "dry_run": dry_run, "trees": trees})
    for one in done:
        if one.error is not None:
            raise one.error
        if one.outcome is Fate.IN_USE:
            raise errors.InUseError(f"tree {one.key}", one.why, one.hint)


def _chosen(store: Store, texts: Sequence[str]) -> list[StoredImage]:
    """The images that are meant, all of them for no text; those of an index in its place."""
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
