"""`du`: disk usage as a bill, tables, a tree, a picture, a history, or metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import human_size, write_json, write_table
from arstore.errors import UsageError
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.maintenance.disk_usage import Usage
    from arstore.store.store import Store, StoredImage

SORTS = ("size", "name", "last-used", "unique")
_PERCENT = pattern(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")


class _View(NamedTuple):
    """How the usage is shown, as it was typed."""

    by: str
    sort: str | None
    tree: bool
    html: str | None
    template: str | None
    since: str | None


@exit_statuses(*IMAGE_ERRORS, errors.InUseError, errors.HighWaterError)
@needing(Need.REMOVAL)
@command("du")
@argument("images", metavar="[IMAGE]...", nargs=-1)
@option("--by", type=Choice(("image", "layer", "container")), help="List images, layers or containers. [image]")
@option("--sort", type=Choice(SORTS), help="Sort by size, name, last-used or unique.")
@option("--tree", is_flag=True, help="Show images, layers and directories as a tree.")
@option("--html", metavar="FILE", help="Write a picture to FILE, a page for browsers; - is stdout.")
@option("--format", "template", type=Choice(("table", "prometheus")), help="Print a table, or Prometheus metrics.")
@option("--if-removed", is_flag=True, help="Show what removing all of IMAGE... together would free.")
@option("--duplicates", is_flag=True, help="Show files with the same content in several places.")
@option("--history", is_flag=True, help="Show the usage that was measured before.")
@option("--since", metavar="TIME", help="Show how the usage changed since TIME; with --history, list it from then on.")
@option(
    "--high-water",
    metavar="SIZE|PERCENT",
    help="End with status 47 if the store takes more: a size such as 20g, or a part of its file system such as 80%; "
    "0 for no mark. [high-water of the configuration]",
)
@json_option
def du(
    session: Session,
    images: tuple[str, ...],
    by: str | None,
    sort: str | None,
    tree: bool,
    html: str | None,
    template: str | None,
    if_removed: bool,
    duplicates: bool,
    history: bool,
    since: str | None,
    high_water: str | None,
) -> None:
    """Show disk usage.

    Sizes are allocated disk space. The total is what du(1) reports for the root, including what is mounted below it.
    For each IMAGE (by default for all), UNIQUE is what removing it would free, and SHARED is what other images need
    too. Files and directories in the root that do not belong to the store are counted as orphans, and listed.

    --by layer lists every layer on disk, and --by container every container. --sort puts the largest first, or the
    names in order, or the least recently used first.

    --tree and --html show images, layers and directories with their sizes, and mark what several images need. The page
    of --html needs no network; parts that are too small to be drawn are summed up.

    With --if-removed, IMAGE... is as for `arstore rm`: a name of an image with several names frees nothing, an index
    goes with images that only it lists, and images in use are refused.

    With --duplicates, prints the files whose content is in several layers, or several times in one, those first that
    take most space. SAVES is the disk space in layer trees that one copy would save. The digests are those that imports
    computed; what has none is reported.

    --history lists earlier totals, and --since compares with the last ones before TIME. `du` notes the totals in the
    store, at most once an hour, after one of these or --format prometheus was used for the first time.

    Additional stores have their own lines. They are not below the root, and not part of the total. NEEDED is the size
    of their blobs that images of this store use.

    Example:

    arstore du --sort size

    arstore du --html usage.html

    arstore du --if-removed app:1 app:2

    arstore du --high-water 80%
    """
    view = _View(by or "image", sort, tree, html, template, since)
    _require_one(session, images, view, by, {"--if-removed": if_removed, "--duplicates": duplicates}, history)
    if if_removed:
        _show_removal(session, images)
        return
    if duplicates:
        from arstore.cli.upkeep.duplicates import show_duplicates

        show_duplicates(session, images)
        return
    _report(session, images, view, history, _mark(session, high_water))


def _report(session: Session, images: tuple[str, ...], view: _View, history: bool, mark: tuple[int, float]) -> None:
    """Print the usage of the whole store, or its history. Raises HighWaterError if the store takes more than *mark*."""
    with session.store() as store:
        if history:
            _show_history(session, store, view.since)
            return
        start = view.since is not None or view.template == "prometheus"
        usage = session.kept = _measured(store, images, start=start)
        _show(session, store, usage, view, chosen=bool(images))
        if any(mark):
            _require_below(store, usage, *mark)


def _require_one(
    session: Session, images: tuple[str, ...], view: _View, by: str | None, apart: dict[str, bool], history: bool
) -> None:
    """Raise UsageError for options that exclude each other."""
    chosen = {
        **apart,
        "--history": history,
        "--tree": view.tree,
        "--html": view.html is not None,
        "--format prometheus": view.template == "prometheus",
        "--by": by is not None,
        "--since": view.since is not None and not history,
    }
    given = [name for name, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise UsageError(given[0], f"excludes {given[1]}")
    if session.json and (view.tree or view.template is not None or view.html == "-"):
        raise UsageError("--json", "excludes --tree, --format and --html -")
    if apart["--if-removed"] and not images:
        raise UsageError("--if-removed", "needs at least one image")
    if images and (history or view.since is not None or view.by == "container"):
        raise UsageError(given[0], "is about the whole store, and takes no image")
    if view.sort is not None and given and by is None:
        raise UsageError("--sort", f"has no meaning with {given[0]}")
    if view.by == "container" and view.sort in ("last-used", "unique"):
        raise UsageError(f"--sort {view.sort}", "has no meaning for containers", "use size or name")


def _measured(store: Store, images: tuple[str, ...], *, start: bool) -> Usage:
    """Measure the store, and note the totals if they are due; with *start*, begin the log of them."""
    from arstore.maintenance import usage_log
    from arstore.maintenance.disk_usage import measure

    chosen = {image.digest: image for image in map(store.find, images)}
    for image in chosen.values():
        _require_own(image)
    # Its file counts, so it is made before.
    is_due = usage_log.prepare(store.directories, start=start)
    usage = measure(store, list(chosen.values()) if images else None)
    if is_due:
        usage_log.note(store.directories, usage)
    return usage


def _show(session: Session, store: Store, usage: Usage, view: _View, chosen: bool) -> None:
    if view.html is not None:
        _write_picture(session, store, usage, view.html)
    elif view.tree:
        from arstore.cli.upkeep.usage_tree import write_usage_tree

        write_usage_tree(store, usage, chosen)
    elif view.template == "prometheus":
        from arstore.cli.upkeep.prometheus import write_metrics

        write_metrics(store.directories, usage, chosen)
    elif view.since is not None:
        from arstore.cli.upkeep.usage_history import write_change

        write_change(session, store.directories, usage, view.since)
    else:
        _write_bill(session, store, usage, view, chosen)


def _write_bill(session: Session, store: Store, usage: Usage, view: _View, chosen: bool) -> None:
    from arstore.cli.upkeep import usage_tables
    from arstore.maintenance.lenders import measure_lenders

    lenders = measure_lenders(store)
    for one in lenders:
        if one.error:
            session.warn(one.error)
    listing = usage_tables.listing(store, usage, view.by, view.sort, chosen)
    if session.json:
        write_json(
            {
                **usage_tables.bill(usage),
                **listing.document(),
                "additional_stores": [one._asdict() for one in lenders],
            }
        )
        return
    usage_tables.write_parts(usage, lenders)
    listing.write()


def _write_picture(session: Session, store: Store, usage: Usage, file: str) -> None:
    from arstore.cli.pictures.output import write_picture
    from arstore.cli.pictures.treemap import treemap
    from arstore.maintenance.breakdown.hierarchy import break_down

    write_picture(session, file, treemap(usage, break_down(store, usage)))


def _show_history(session: Session, store: Store, since: str | None) -> None:
    from arstore.cli.upkeep.usage_history import write_history
    from arstore.maintenance import usage_log
    from arstore.maintenance.disk_usage import measure

    if usage_log.prepare(store.directories, start=True):
        usage_log.note(store.directories, measure(store))
    write_history(session, store.directories, since)


def _show_removal(session: Session, images: tuple[str, ...]) -> None:
    with session.library() as store:
        plan = store.remove(*images, dry_run=True)
    if session.json:
        names = {"untagged": plan.untagged, "images": plan.images}
        write_json({"freed": plan.freed, "parts": plan.parts, "records_bound": plan.bound, **names})
        return
    rows = [(part, human_size(size), str(size)) for part, size in plan.parts.items() if size]
    if plan.bound:
        rows.append(("records (more or less, at most)", human_size(plan.bound), str(plan.bound)))
    write_table(("PART", "SIZE>", "BYTES>"), [*rows, ("freed", human_size(plan.freed), str(plan.freed))])


def _require_own(image: StoredImage) -> None:
    """Raise NotFoundError if *image* is in an additional store, where it takes no space of this one."""
    if image.home is not None:
        root = image.home.directories.root
        raise errors.NotFoundError(
            image.label, f"is in the additional store {root}, not in this one", f"`arstore --root {root} du` shows it"
        )


# --- the mark -------------------------------------------------------------------------------------------------------


def _mark(session: Session, text: str | None) -> tuple[int, float]:
    """Return the bytes of the mark, or 0 and its part of the file system; both are 0 for no mark. Raises UsageError."""
    from arstore.runtime.spec.sizes import parse_size

    if text is None:
        return (session.settings.high_water or 0) if session.settings is not None else 0, 0.0
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        return parse_size(text), 0.0
    if not 0 < float(match[1]) <= 100:
        raise UsageError(f"--high-water {text}", "is not a percentage between 0 and 100")
    return 0, float(match[1]) / 100


def _require_below(store: Store, usage: Usage, size: int, part: float) -> None:
    """Raise HighWaterError if the store takes more than *size* bytes, or than this *part* of its file system."""
    from arstore.disk.free_space import free_space

    if part:
        size = int(free_space(store.directories.root)[1] * part)
    if usage.total > size:
        why = f"takes {human_size(usage.total)}, more than the high-water mark of {human_size(size)}"
        raise errors.HighWaterError(store.directories.root, why, "`arstore trim` gives up cached trees")
