"""Fields of a container for Go templates and `json` in `ps --format`: podman's names, and podman's words.

podman has fewer statuses than arstore. In its fields, `starting` is initialized, and `failed` and `dead` are exited.
Ids are not shortened, because an id may be a name that the user gave; digests are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.cli.terminal.output import human_size, short_digest
from arstore.cli.terminal.spans import ago, go_time, in_words

if TYPE_CHECKING:
    from arstore.runtime.inspection.about import About

PODMANS = {"starting": "initialized", "failed": "exited", "dead": "exited"}
"""podman's words for statuses that it does not have."""

_NEVER = -62135596800
"""The year 1, in seconds since the epoch: Go's time without a value."""
_LONGEST_COMMAND = 17


def podmans_status(about: About) -> str:
    """Return the status in podman's words."""
    return PODMANS.get(about.status, about.status)


def status_text(about: About, now: float) -> str:
    """Return `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`."""
    state = about.state
    word = podmans_status(about)
    if state is not None and word in {"running", "paused"} and state.started is not None:
        notes = ["Paused"] if word == "paused" else []
        notes += [] if about.health is None else [about.health.status]
        suffix = "".join(f" ({note})" for note in notes)
        return f"Up {in_words(max(0.0, now - state.started))}{suffix}"
    if state is not None and word == "exited":
        when = f" {ago(state.finished, now)}" if state.finished is not None else ""
        return f"Exited ({-1 if state.exit_code is None else state.exit_code}){when}"
    return word.capitalize()


def fields_of(about: About, size: int | None, *, whole: bool) -> Fields:
    """Return the fields; *whole* does not shorten digests and the command."""
    container, state, now = about.container, about.state, time.time()
    created = container.record.created
    digest = container.record.image
    words = about.args
    command = " ".join(words)
    if not whole and len(command) > _LONGEST_COMMAND:
        command = f"{command[:_LONGEST_COMMAND]}..."
    started = None if state is None else state.started
    finished = None if state is None else state.finished
    restarts = 0 if state is None else state.restarts
    return Fields(
        ID=container.id,
        Image=about.image_name if about.image_name != digest or whole else short_digest(digest),
        ImageID=digest if whole else short_digest(digest),
        Command=Twofold(command, list(words)),
        CreatedAt=go_time(created),
        Created=Twofold(go_time(created), int(created)),
        RunningFor=ago(created, now),
        CreatedHuman=ago(created, now),
        Status=status_text(about, now),
        State=podmans_status(about),
        Names=Twofold(container.name, [container.name]),
        Labels=about.labels,
        Mounts=[mount.destination for mount in about.mounts],
        Networks=Twofold(about.options.network, [about.options.network]),
        Ports=ports(about),
        Pid=about.pid,
        ExitCode=0 if state is None or state.exit_code is None else state.exit_code,
        Exited=podmans_status(about) == "exited",
        StartedAt=_NEVER if started is None else int(started),
        ExitedAt=_NEVER if finished is None else int(finished),
        Restarts=restarts,
        RestartPolicy=about.options.restart.policy,
        AutoRemove=about.request is not None and about.request.remove,
        Size="" if size is None else human_size(size),
        Pod="",
        PodName="",
        IsInfra=False,
        CIDFile=about.options.id_file,
    )


def ports(about: About) -> str:
    """Return the published ports, as podman writes them."""
    found = about.options.link.ports
    if not found:
        return ""
    from arstore.runtime.spec.nets.ports import shown_ports

    return shown_ports(found)


def entry(about: About, size: int | None) -> dict[str, Any]:
    """Return the entry of `ps --format json`."""
    fields = fields_of(about, size, whole=True)
    found = {name: fields[name] for name in fields if name not in {"ID", "RunningFor", "CreatedHuman", "RestartPolicy"}}
    found["Size"] = None if size is None else {"rwSize": size, "rootFsSize": _root_size(about)}
    return {"Id": about.container.id, **found, "CreatedAt": fields["RunningFor"]}


def _root_size(about: About) -> int:
    return 0 if about.image is None else about.image.record.size
