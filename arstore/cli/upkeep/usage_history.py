"""`du --history` and `du --since`: totals that were measured before, and how they changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size, short_time, utc_time, write_json, write_line, write_table
from arstore.errors import NotFoundError
from arstore.maintenance.usage_log import Entry, entries, entry_of
from arstore.runtime.spec.moments import parse_moment

if TYPE_CHECKING:
    from typing import Any

    from arstore.cli.session import Session
    from arstore.disk.paths import Directories
    from arstore.maintenance.disk_usage import Usage

_HINT = "from now on `arstore du` notes the totals, at most once an hour"


def write_history(session: Session, directories: Directories, since: str | None) -> None:
    """Print what the log has, oldest first, from the moment *since* on. Raises UsageError."""
    start = 0.0 if since is None else parse_moment(since, "--since ")
    found = [entry for entry in entries(directories) if entry.time >= start]
    if session.json:
        write_json([_document(entry) for entry in found])
        return
    rows = []
    before: Entry | None = None
    for entry in found:
        change = "-" if before is None else _signed(entry.total - before.total)
        sizes = map(human_size, (entry.total, *entry.sizes().values()))
        rows.append((short_time(utc_time(entry.time)), *sizes, str(entry.images), change))
        before = entry
    head = ("TIME", "TOTAL>", "BLOBS>", "TREES>", "CONTAINERS>", "VOLUMES>", "OTHERS>", "IMAGES>", "CHANGE>")
    write_table(head, rows)
    if not rows:
        session.note(f"nothing was noted yet; {_HINT}")


def write_change(session: Session, directories: Directories, usage: Usage, since: str) -> None:
    """Print how the usage changed since the last entry before the moment *since*.

    Raises UsageError, and NotFoundError if there is no entry.
    """
    moment = parse_moment(since, "--since ")
    assert usage.basis is not None
    now = entry_of(usage, len(usage.basis.shares.images), time.time())
    found = entries(directories)
    known = [entry for entry in found if entry.time <= moment]
    if not known:
        first = f"the log begins at {utc_time(found[0].time)}" if found else _HINT
        raise NotFoundError(since, "nothing was noted at that time or before", first)
    then = known[-1]
    if session.json:
        old, new = _document(then), _document(now)
        change = {key: new[key] - old[key] for key in new if key != "time"}
        write_json({"then": old, "now": new, "change": change})
        return
    write_line(f"since {short_time(utc_time(then.time))} UTC")
    rows = [
        (kind, human_size(size), human_size(now.sizes()[kind]), _signed(now.sizes()[kind] - size))
        for kind, size in then.sizes().items()
    ]
    rows.append(("total", human_size(then.total), human_size(now.total), _signed(now.total - then.total)))
    rows.append(("images", str(then.images), str(now.images), f"{now.images - then.images:+d}"))
    write_table(("PART", "THEN>", "NOW>", "CHANGE>"), rows)


def _document(entry: Entry) -> dict[str, Any]:
    return {"time": utc_time(entry.time), "total": entry.total, **entry.sizes(), "images": entry.images}


def _signed(size: int) -> str:
    return f"{'-' if size < 0 else '+'}{human_size(abs(size))}"
