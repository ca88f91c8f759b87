"""`du`, `gc` and `check`: what the store takes, what it can do without, and whether it is well."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    SOURCE_ERRORS,
    command,
    exit_statuses,
    json_option,
    limit_option,
    progress_option,
)
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line, write_table
from arstore.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.cli.session import Session
    from arstore.maintenance.check import Finding, HitImage
    from arstore.maintenance.disk_usage import Usage
    from arstore.maintenance.gc import Garbage
    from arstore.maintenance.lenders import LenderUsage
    from arstore.store.store import Store, StoredImage

_MOST_NAMES, _MOST_IMAGES = 5, 20
"""Names in the line of a finding, and images in its JSON object; the document's own list has all."""


@exit_statuses(*IMAGE_ERRORS)
@command("du")
@argument("images", metavar="[IMAGE]...", nargs=-1)
@json_option
def du(session: Session, images: tuple[str, ...]) -> None:
    """Tell where every byte of the store is.

    Sizes are allocated on disk, and the total is what du(1) says of the root, with all that is mounted below it. Of
    each IMAGE, by default of all, UNIQUE is what would be freed with it, and SHARED what other images need too. Files
    and directories in the root that are not the store's are part of the orphans, and are listed.

    Additional stores have lines of their own: they are not below the root, and not in the total. NEEDED are the bytes
    of the blobs there that images of this store stand on.
    """
    from arstore.maintenance.disk_usage import measure
    from arstore.maintenance.lenders import measure_lenders

    with session.store() as store:
        chosen = {image.digest: image for image in map(store.find, images)}
        for image in chosen.values():
            _require_own(image)
        usage = session.kept = measure(store, list(chosen.values()) if images else None)
        lenders = measure_lenders(store)
    for one in lenders:
        if one.error:
            session.warn(one.error)
    if session.json:
        write_json({**_bill(usage), "additional_stores": [one._asdict() for one in lenders]})
        return
    sizes = {**usage.parts(), "total": usage.total, "reclaimable": usage.reclaimable}
    rows = [(part, human_size(size), str(size)) for part, size in sizes.items()]
    write_table(("PART", "SIZE>", "BYTES>"), rows)
    if usage.strays:
        write_line()
        strays = [(name, human_size(size), str(size)) for name, size in usage.strays.items()]
        write_table(("STRAY", "SIZE>", "BYTES>"), strays)
    if lenders:
        write_line()
        write_table(("ADDITIONAL STORE", "SIZE>", "BYTES>", "NEEDED>"), map(_lender_cells, lenders))
    if usage.images:
        write_line()
        lines = [
            (
                image.names[0] if image.names else "-",
                short_digest(image.digest),
                *map(human_size, (image.size, image.unique, image.shared)),
            )
            for image in usage.images
        ]
        write_table(("IMAGE", "DIGEST", "SIZE>", "UNIQUE>", "SHARED>"), lines)


def _lender_cells(one: LenderUsage) -> tuple[str, ...]:
    size = ("-", "-") if one.size is None else (human_size(one.size), str(one.size))
    return one.root, *size, human_size(one.needed)


def _require_own(image: StoredImage) -> None:
    """Raise NotFoundError for an image that takes nothing here."""
    if image.home is not None:
        root = image.home.directories.root
        raise errors.NotFoundError(
            image.label, f"is in the additional store {root}, not in this one", f"`arstore --root {root} du` tells more"
        )


def _bill(usage: Usage) -> dict[str, Any]:
    return {
        "total": usage.total,
        **usage.parts(),
        "reclaimable": usage.reclaimable,
        "strays": [{"name": name, "size": size} for name, size in usage.strays.items()],
        "images": [
            {
                "digest": image.digest,
                "names": list(image.names),
                "size": image.size,
                "unique": image.unique,
                "shared": image.shared,
            }
            for image in usage.images
        ],
    }


@exit_statuses()
@command("gc")
@option("-n", "--dry-run", is_flag=True, help="Only tell what would be collected.")
@json_option
def gc(session: Session, dry_run: bool) -> None:
    """Collect what nothing holds any more.

    What names, containers, mounts and work in progress need stays. The rest goes: images without a name and what only
    they need, and what commands that were killed have left behind.
    """
    from arstore.maintenance.gc import collect, plan_collection

    with session.store() as store:
        found: Garbage = plan_collection(store) if dry_run else collect(store)
    session.done = "" if dry_run else f"{human_size(found.bytes)} were freed"
    if session.json:
        write_json({"dry_run": dry_run, **found.by_kind(), "bytes": found.bytes})
    else:
        _show_garbage(found, dry_run)


def _show_garbage(found: Garbage, dry_run: bool) -> None:
    for kind, keys in found.by_kind().items():
        for key in keys:
            write_line(kind.removesuffix("s"), key)
    write_line(f"{human_size(found.bytes)} {'can be' if dry_run else 'were'} freed")


@exit_statuses(*SOURCE_ERRORS, errors.CheckFailedError, errors.InUseError)
@command("check")
@option("--quick", is_flag=True, help="Look at records, names and sizes, and read no content.")
@option("--repair", "mend", is_flag=True, help="Mend what can be mended.")
@option(
    "--from", "sources", metavar="SOURCE", multiple=True, help="Where --repair may bring lost blobs from; repeatable."
)
@limit_option
@option("--nice", is_flag=True, help="Take only what nobody else wants of disk and processors.")
@progress_option
@json_option
def check(
    session: Session, quick: bool, mend: bool, sources: tuple[str, ...], limit: tuple[str, ...], nice: bool
) -> None:
    """Look for damage, and mend it.

    Every byte is read and compared with what is recorded of it: blobs, trees, the graph, index.json. What containers
    wrote, and files of running ones, have nothing to be compared with.

    Each finding names the images that need what it is about. `arstore images` marks those that are damaged, until what
    is damaged changes or another check finds it well.

    Findings marked harmless are clutter for `arstore gc`, or are set right when they are next used. Trees are mended
    from blobs, records from manifests and configs. A blob that is lost comes from SOURCE, which is what
    `arstore import` takes, or stays lost until its image is imported again.

    Additional stores are not read: `arstore --root DIR check` looks at one. That one is not there which images need is
    a finding, and nothing is removed or mended because of it.
    """
    from arstore.maintenance.check import affected, repair

    if sources and not mend:
        raise errors.UsageError("--from", "is of use with --repair alone")
    limits = None
    if limit:
        from arstore.tar.limits import changed

        limits = changed(limit)
    with session.store() as store:
        findings, count = _look(session, store, quick, nice)
        if mend and findings:
            findings = repair(store, findings, sources, limits)
            session.done = "what could be mended is; `arstore check` tells what is left"
        hits = affected(store, findings)
        bad = [finding for finding in findings if not (finding.harmless or finding.repaired)]
        _remember(store, bad, hits, whole=not quick)
    hit = {image.digest: image for finding in bad for image in hits.get(finding, ())}
    if session.json:
        shown = [_finding(finding, hits.get(finding, ())) for finding in findings]
        damaged = [image._asdict() for image in hit.values()]
        write_json({"ok": not bad, "findings": shown, "images": damaged, "bytes": count})
    else:
        for finding in findings:
            note = "repaired" if finding.repaired else "harmless" if finding.harmless else "damage"
            note = "absent" if finding.damage.value == "lent-absent" else note
            needed = _needed_by(hits.get(finding, ()))
            write_line(f"{note}: {finding.damage.value}: {finding.what}: {finding.why}{needed}")
    if bad:
        lost = mend and all(finding.damage.value.startswith("blob-") for finding in bad)
        hint = "" if mend else "`arstore check --repair` mends what can be mended"
        if lost and not sources:
            hint = "--from SOURCE brings blobs from an archive or a backup that has them"
        if all(finding.damage.value == "lent-absent" for finding in bad):
            hint = "nothing here is damaged; name the additional store, or mount its medium"
            raise CheckFailedError(store.directories.root, "an additional store that images need is not there", hint)
        raise CheckFailedError(store.directories.root, _count(bad, len(hit)), hint)


def _count(bad: list[Finding], hit: int) -> str:
    told = "something is damaged" if len(bad) == 1 else f"{len(bad)} things are damaged"
    return f"{told} that {hit} {'image needs' if hit == 1 else 'images need'}" if hit else told


def _needed_by(images: tuple[HitImage, ...]) -> str:
    """The end of a finding's line: which images need it, by their names or digests."""
    names = [name for image in images for name in image.names or (short_digest(image.digest),)]
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"; needed by {', '.join(names[:_MOST_NAMES])}{more}"


def _remember(store: Store, bad: list[Finding], hits: Mapping[Finding, tuple[HitImage, ...]], *, whole: bool) -> None:
    """Keep what was found for `arstore images`, where the store can be written to."""
    from arstore.maintenance.check import Damage
    from arstore.maintenance.verdicts import record

    if any(finding.damage is Damage.GRAPH_PAGES for finding in bad):
        return
    found = {
        (finding.damage.value, finding.what): [image.digest for image in hits[finding]]
        for finding in bad
        if finding in hits and finding.damage is not Damage.LENT_ABSENT
    }
    with suppress(OSError, errors.ArstoreError):
        record(store, found, whole)


def _look(session: Session, store: Store, quick: bool, nice: bool) -> tuple[list[Finding], int]:
    """The findings, and how many bytes were read for them."""
    from arstore.maintenance.check import check as look
    from arstore.maintenance.check import extent

    done = 0
    with session.progress("") as progress:

        def report(count: int) -> None:
            nonlocal done
            done += count
            progress.advance("store", count)

        if not quick:
            progress.start("store", "store", extent(store))
        findings = look(store, quick, report, nice)
        progress.finish("store")
    return findings, done


def _finding(finding: Finding, images: tuple[HitImage, ...]) -> dict[str, Any]:
    return {
        "kind": finding.damage.value,
        "what": finding.what,
        "why": finding.why,
        "harmless": finding.harmless,
        "repaired": finding.repaired,
        "images": [image._asdict() for image in images[:_MOST_IMAGES]],
        "image_count": len(images),
    }
