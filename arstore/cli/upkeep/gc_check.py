"""`gc` and `check`: removal of unused content, and damage."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    SOURCE_ERRORS,
    command,
    exit_statuses,
    json_option,
    limit_option,
    needing,
    progress_option,
)
from arstore.cli.namespace import Need
from arstore.cli.parameter import option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line
from arstore.cli.upkeep.plans import write_freed, write_parts
from arstore.errors import CheckFailedError

if TYPE_CHECKING:
    from typing import Any

    from arstore.api.values.upkeep import Finding
    from arstore.cli.session import Session

_MOST_NAMES, _MOST_IMAGES = 5, 20
"""Most names in the line of a finding, and most images in its JSON object; the document's own list has all."""


@exit_statuses()
@needing(Need.REMOVAL)
@command("gc")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@json_option
def gc(session: Session, dry_run: bool) -> None:
    """Remove everything that is not in use.

    What names, containers, mounts and work in progress need is kept. Everything else is removed: images without a name,
    the layers and blobs that only they need, and what killed commands left behind. It can be run at any time.

    Prints a line for each thing that was removed, and the disk space that was freed.

    Example:

    arstore gc --dry-run
    """
    with session.library() as library:
        plan = library.plan_gc()
        found = plan.garbage if dry_run else library.apply(plan)
    session.done = "" if dry_run else f"freed {human_size(found.bytes)}"
    kinds = vars(found).copy()
    size = kinds.pop("bytes")
    if session.json:
        write_json({"dry_run": dry_run, **kinds, "bytes": size, **({"parts": plan.parts} if dry_run else {})})
        return
    for kind, keys in kinds.items():
        for key in keys:
            write_line(kind.removesuffix("s"), key)
    if dry_run:
        write_parts(plan.parts, plan.bound)
    write_freed(size, dry_run)


@exit_statuses(*SOURCE_ERRORS, errors.CheckFailedError, errors.InUseError)
@needing(Need.REMOVAL)
@command("check")
@option("--quick", is_flag=True, help="Check records, names and sizes only; read no content.")
@option("--repair", "mend", is_flag=True, help="Repair what can be repaired.")
@option(
    "--from",
    "sources",
    metavar="SOURCE",
    multiple=True,
    help="With --repair: restore lost blobs from this source; repeatable.",
)
@limit_option
@option("--nice", is_flag=True, help="Run with the lowest disk and CPU priority.")
@progress_option
@json_option
def check(
    session: Session, quick: bool, mend: bool, sources: tuple[str, ...], limit: tuple[str, ...], nice: bool
) -> None:
    """Look for damage in the store, and repair it.

    Everything in the store is read and compared with its recorded digest or checksum: blobs, layer trees, the graph and
    index.json. What containers wrote, and files of running containers, have no record to be compared with.

    Prints a line for each finding, with the images that it affects. `arstore images` marks the damaged images until the
    damage changes or another check finds it repaired.

    Findings marked harmless are removed by `arstore gc`, or corrected when they are next used. With --repair, trees are
    rebuilt from blobs, and records from manifests and configs. A lost blob is restored from SOURCE, which is the same
    as for `arstore import`; without SOURCE it stays lost until its image is imported again.

    Additional stores are not checked; use `arstore --root DIR check`. An additional store that images need and that is
    missing is a finding; nothing is removed or repaired because of it.

    Example:

    arstore check --repair --from backup.tar
    """
    if sources and not mend:
        raise errors.UsageError("--from", "needs --repair")
    with session.library() as library, session.progress("") as progress:
        report = library.check(
            quick=quick, repair=mend, sources=sources, limits=session.limits(limit), nice=nice, progress=progress
        )
    if mend:
        session.done = "what could be repaired is repaired; `arstore check` lists the rest"
    bad = [finding for finding in report.findings if not (finding.harmless or finding.repaired)]
    hit = {digest: names for one in bad for digest, names in zip(one.images, one.names, strict=True)}
    if session.json:
        shown = [_finding(finding) for finding in report.findings]
        damaged = [{"digest": digest, "names": names} for digest, names in hit.items()]
        write_json({"ok": not bad, "findings": shown, "images": damaged, "bytes": report.bytes})
    else:
        for finding in report.findings:
            note = "repaired" if finding.repaired else "harmless" if finding.harmless else "damage"
            note = "absent" if finding.kind == "lent-absent" else note
            write_line(f"{note}: {finding.kind}: {finding.what}: {finding.why}{_needed_by(finding)}")
    if bad:
        lost = mend and all(finding.kind.startswith("blob-") for finding in bad)
        hint = "" if mend else "`arstore check --repair` repairs what can be repaired"
        if lost and not sources:
            hint = "--from SOURCE restores blobs from an archive or a backup that has them"
        if all(finding.kind == "lent-absent" for finding in bad):
            hint = "nothing in this store is damaged; give --additional-store, or mount its medium"
            raise CheckFailedError(library.root, "an additional store that images need is missing", hint)
        raise CheckFailedError(library.root, _count(bad, len(hit)), hint)


def _count(bad: list[Finding], hit: int) -> str:
    what = "1 finding of damage" if len(bad) == 1 else f"{len(bad)} findings of damage"
    return f"{what}, affecting {hit} {'image' if hit == 1 else 'images'}" if hit else what


def _needed_by(finding: Finding) -> str:
    """Return the end of a finding's line: the names or digests of the images that need it."""
    found = zip(finding.images, finding.names, strict=True)
    names = [name for digest, names in found for name in names or (short_digest(digest),)]
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"; needed by {', '.join(names[:_MOST_NAMES])}{more}"


def _finding(finding: Finding) -> dict[str, Any]:
    found = zip(finding.images, finding.names, strict=True)
    return {
        "kind": finding.kind,
        "what": finding.what,
        "why": finding.why,
        "harmless": finding.harmless,
        "repaired": finding.repaired,
        "images": [{"digest": digest, "names": names} for digest, names in islice(found, _MOST_IMAGES)],
        "image_count": len(finding.images),
    }
