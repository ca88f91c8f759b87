"""`ps`: list the containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import Range, option
from arstore.cli.terminal.listing import Item, Table, listing_options, require_valid, write_listing
from arstore.cli.terminal.output import short_digest, utc_time
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from arstore.cli.session import Session
    from arstore.cli.terminal.listing import ListingWords
    from arstore.runtime.inspection.about import About

SORTS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")
FILTERS = (
    *("ancestor", "before", "command", "exited", "health", "id", "label", "label!", "name", "network", "pod"),
    *("restart-policy", "since", "status", "until", "volume"),
)
HEADINGS = {
    "ID": "CONTAINER ID",
    "ImageID": "IMAGE ID",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Created": "CREATED",
    "StartedAt": "STARTED",
    "ExitedAt": "EXITED",
    "ExitCode": "EXIT CODE",
}
_HEAD = ("ID", "IMAGE", "STATUS", "EXIT>", "CREATED", "COMMAND", "NAME")
_SIZE = "SIZE>"


@exit_statuses()
@command("ps")
@option("-a", "--all", "every", is_flag=True, help="Also list containers that are not running.")
@option(
    "--last", metavar="N", type=Range(int, min=0), help="List the N containers that were created last, running or not."
)
@option("-l", "--latest", is_flag=True, help="List the container that was created last.")
@option("-s", "--size", "sizes", is_flag=True, help="Also show the size of what the containers have written.")
@listing_options(SORTS, FILTERS, noheading=("--noheading",))
@json_option
def ps(
    session: Session, every: bool, last: int | None, latest: bool, sizes: bool, **words: Unpack[ListingWords]
) -> None:
    """List the containers.

    By default only those that are running. STATUS is starting, running, paused, restarting (its restart policy starts
    it again), exited, failed (its command never began), dead (its launcher was killed) or created (no command was ever
    run in it), with the health of a container that has a health check. NAME is its id, unless it was renamed.

    The filters are those of podman. Several values of one key match any of them, but each label has to match; different
    keys have to match all. A filter on the status or the exit status lists containers that are not running, too. In
    Go templates, the fields have podman's names.

    Examples:

    arstore ps --all

    arstore ps -aq --filter status=exited --filter label=stage=test

    arstore ps --format '{{.ID}} {{.Status}}'
    """
    from arstore.runtime.inspection.about import About

    require_valid(session, "ps", words, SORTS)
    if latest and last is not None:
        raise UsageError("ps", "--latest and --last exclude each other")
    last = 1 if latest else last
    with session.store() as store:
        found = [About(store, container) for container in store.containers.list()]
        if words["filters"]:
            from arstore.cli.containers.inspection.ps_filters import every_matches, match

            every = every or every_matches(words["filters"])
            found = match(store, found, words["filters"], FILTERS)
        if last is not None:
            found.sort(key=lambda about: about.container.record.created, reverse=True)
            found = found[:last]
        elif not every:
            found = [about for about in found if about.state is not None and about.state.is_running]
        head = (*_HEAD, _SIZE) if sizes else _HEAD
        write_listing(session, words, _items(found, words, sizes=sizes), Table(head, HEADINGS))


def _items(found: Sequence[About], words: ListingWords, *, sizes: bool) -> list[Item]:
    template = words["template"]
    takes_fields = template is not None and not template.startswith("{.")
    items = []
    for about in found:
        document = summary(about)
        size = about.written() if sizes or words["sort"] == "size" else None
        if sizes:
            document["size"] = size
        fields: dict[str, Any] = {}
        plain: dict[str, Any] | None = None
        if takes_fields:
            from arstore.cli.containers.inspection.ps_fields import entry, fields_of

            fields = fields_of(about, size if sizes else None, whole=words["no_trunc"])
            plain = entry(about, size if sizes else None) if template == "json" else None
        items.append(Item(about.container.id, _cells(document), document, fields, _keys(about, size), plain))
    return items


def summary(about: About) -> dict[str, Any]:
    """Return the entry of `ps --json`."""
    state, container = about.state, about.container
    process = None if state is None or not state.is_running else state.process
    image = about.image
    return {
        "id": container.id,
        "names": [container.name],
        "image": container.record.image,
        "name": image.label if image is not None else "",
        "status": about.status,
        "running": state is not None and state.is_running,
        "health": None if about.health is None else about.health.status,
        "restarts": 0 if state is None else state.restarts,
        "command": [] if state is None else list(state.args),
        "pid": None if process is None else process.pid,
        "exit_code": None if state is None else state.exit_code,
        "oom_killed": state is not None and state.oom_killed,
        "error": "" if state is None else state.error,
        "created": utc_time(container.record.created),
        "started": None if state is None or state.started is None else utc_time(state.started),
        "finished": None if state is None or state.finished is None else utc_time(state.finished),
        "detached": state is not None and state.detached,
        "ephemeral": container.record.ephemeral,
        "runtime": "" if state is None else state.runtime,
    }


def _shown_status(about: dict[str, Any]) -> str:
    notes = [about["health"] or "", "out of memory" if about["oom_killed"] else ""]
    return " ".join([about["status"], *(f"({note})" for note in notes if note)])


def _cells(about: dict[str, Any]) -> tuple[str, ...]:
    cells = (
        about["id"],
        about["name"] or short_digest(about["image"]),
        _shown_status(about),
        "-" if about["exit_code"] is None else str(about["exit_code"]),
        about["created"],
        " ".join(about["command"]) or "-",
        about["names"][0],
    )
    if "size" not in about:
        return cells
    from arstore.cli.terminal.output import human_size

    return (*cells, human_size(about["size"]))


def _keys(about: About, size: int | None) -> dict[str, Any]:
    record = about.container.record
    return {
        "command": " ".join(about.state.args if about.state is not None else ()),
        "created": record.created,
        "id": about.container.id,
        "image": about.image_name,
        "names": about.container.name,
        "runningfor": -record.created,
        "size": size or 0,
        "status": about.status,
    }
