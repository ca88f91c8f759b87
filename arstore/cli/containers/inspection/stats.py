"""`stats`: what containers use of the host."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import Range, argument, option
from arstore.cli.terminal.listing import FORMAT_HELP, Format, Item, Table
from arstore.cli.terminal.output import write_json, write_table, write_text
from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.state import RunState
    from arstore.store.containers import Container
    from arstore.store.store import Store

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_NANO = 1_000_000_000
_HEAD = (
    *("ID", "NAME", "CPU %>", "MEM USAGE / LIMIT>", "MEM %>", "NET IO>", "BLOCK IO>", "PIDS>", "CPU TIME>"),
    "AVG CPU %>",
)
HEADINGS = {
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET IO",
    "BlockIO": "BLOCK IO",
    "CPUTime": "CPU TIME",
    "UpTime": "CPU TIME",
    "AVGCPU": "AVG CPU %",
    "ContainerID": "CONTAINER ID",
}


class _Sample(NamedTuple):
    """The use of the host at a moment, and processor use since the sample before, or since the start."""

    container: Container
    state: RunState | None
    document: dict[str, Any]
    at: float


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("stats")
@argument("ids", metavar="[ID]...", nargs=-1)
@option("-a", "--all", "every", is_flag=True, help="Also show containers that are not running.")
@option("--no-stream", is_flag=True, help="Print once, and end.")
@option(
    "-i",
    "--interval",
    metavar="S",
    type=Range(float, min=0.1, max=86400),
    default=5.0,
    show_default=True,
    help="Seconds between two prints.",
)
@option("--no-reset", is_flag=True, help="On a terminal, print below the last table instead of replacing it.")
@option("--format", "template", metavar="FORMAT", help=FORMAT_HELP)
@option("--no-trunc", is_flag=True, help="No effect: nothing is shortened.")
@json_option
def stats(
    session: Session,
    ids: tuple[str, ...],
    every: bool,
    no_stream: bool,
    interval: float,
    no_reset: bool,
    template: str | None,
    no_trunc: bool,
) -> None:
    """Show what containers use of the host.

    That is processor time, memory, network, blocks and processes. Without ID, the containers are those that are
    running. The table is printed again every S seconds, until the command is interrupted; with --json, once. The first
    CPU % is the average since the start of the container, and the next ones are those of the interval. Memory is
    without file pages that the kernel can drop. The numbers come from the container's control groups; those of a
    container that was run with --cgroups=disabled are not known, and shown as --.

    Examples:

    arstore stats --no-stream

    arstore stats --format '{{.Name}} {{.MemUsage}}' web
    """
    if every and ids:
        raise UsageError("stats", "--all and an ID exclude each other")
    if session.json and template is not None:
        raise UsageError("stats", "--json and --format exclude each other")
    chosen = None if template is None else Format(template)
    before: dict[str, _Sample] = {}
    with session.store() as store:
        while True:
            found = [_sample(one, before.get(one.id)) for one in _containers(store, ids, every)]
            _tell_of_disabled(session, found, before)
            _print(session, found, chosen, clears=bool(before) and not no_reset)
            if no_stream or session.json:
                return
            before = {one.container.id: one for one in found}
            store.release()
            time.sleep(interval)


def _containers(store: Store, ids: tuple[str, ...], every: bool) -> list[Container]:
    if ids:
        return list({one.id: one for one in map(store.containers.find, ids)}.values())
    return [one for one in store.containers.list() if every or _is_running(one)]


def _is_running(container: Container) -> bool:
    state = _state(container)
    return state is not None and state.is_running


def _state(container: Container) -> RunState | None:
    from arstore.runtime.lifecycle.state import status

    try:
        return status(container.path)
    except (errors.NotFoundError, errors.StoreDamagedError):
        return None


def _tell_of_disabled(session: Session, found: list[_Sample], before: dict[str, _Sample]) -> None:
    for one in found:
        is_disabled = one.state is not None and one.state.is_running and not one.state.cgroups
        if is_disabled and one.container.id not in before:
            session.note(f"container {one.container.id} has no control groups, so what it uses is not known")


def _sample(container: Container, before: _Sample | None) -> _Sample:
    from arstore.disk.cgroup_usage import host_memory, usage

    state, now = _state(container), time.time()
    running = state is not None and state.is_running
    used = usage(container.path) if running else None
    is_known = used is not None or not running
    document: dict[str, Any] = {"id": container.id, "name": container.name, "running": running}
    numbers = used._asdict() if used is not None else {}
    zero = 0 if is_known else None
    for key in ("cpu", "memory", "pids", "read", "written"):
        document[key] = numbers.get(key, zero) if is_known else None
    memory = host_memory()
    document["memory_limit"] = min(numbers.get("memory_limit") or memory, memory) if running else zero
    document["pids_limit"] = numbers.get("pids_limit")
    document["received"], document["sent"] = _network(state) if running else (zero, zero)
    average = _percent(document["cpu"], 0, None if state is None else state.started, now) if running else 0.0
    percent = average
    if before is not None and before.document["cpu"] is not None and document["cpu"] is not None and running:
        percent = _percent(document["cpu"], before.document["cpu"], before.at, now)
    document["cpu_percent"], document["cpu_average"] = percent, average
    limit = document["memory_limit"]
    known = limit and document["memory"] is not None
    document["memory_percent"] = round(100 * document["memory"] / limit, 2) if known else zero
    return _Sample(container, state, document, now)


def _percent(cpu: int | None, before: int, since: float | None, now: float) -> float | None:
    if cpu is None or since is None or now <= since:
        return None if cpu is None else 0.0
    return round(max(0.0, 100 * (cpu - before) / _NANO / (now - since)), 2)


def _network(state: RunState | None) -> tuple[int, int]:
    """Return the bytes received and sent in the container's own network; 0 for the host's."""
    from arstore.linux.isolation.namespace import identity

    if state is None or state.process is None:
        return 0, 0
    pid = state.process.pid
    try:
        if identity("net", pid) == identity("net") or not state.process.runs_here():
            return 0, 0
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            lines = [line.partition(":") for line in file if ":" in line]
    except OSError:
        return 0, 0
    fields = [rest.split() for name, _, rest in lines if name.strip() != "lo"]
    return sum(int(one[0]) for one in fields), sum(int(one[8]) for one in fields)


def _print(session: Session, found: list[_Sample], chosen: Format | None, *, clears: bool) -> None:
    if session.json:
        write_json([one.document for one in found])
        return
    if clears and sys.stdout.isatty():
        write_text(_CLEAR)
    if chosen is None:
        write_table(_HEAD, [_cells(one.document) for one in found])
        return
    items = [_item(one) for one in found]
    chosen.write(items, Table(_HEAD, HEADINGS))


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["id"],
        one["name"],
        _shown_percent(one["cpu_percent"]),
        f"{_size(one['memory'])} / {_size(one['memory_limit'])}",
        _shown_percent(one["memory_percent"]),
        f"{_size(one['received'])} / {_size(one['sent'])}",
        f"{_size(one['read'])} / {_size(one['written'])}",
        "--" if one["pids"] is None else str(one["pids"]),
        _seconds(one["cpu"]),
        _shown_percent(one["cpu_average"]),
    )


def _item(one: _Sample) -> Item:
    document = one.document
    cells = _cells(document)
    fields = {
        "ID": cells[0],
        "ContainerID": cells[0],
        "Name": cells[1],
        "CPUPerc": cells[2],
        "MemUsage": cells[3],
        "MemUsageBytes": cells[3],
        "MemPerc": cells[4],
        "NetIO": cells[5],
        "BlockIO": cells[6],
        "PIDS": cells[7],
        "CPUTime": cells[8],
        "UpTime": cells[8],
        "AVGCPU": cells[9],
        "CPU": document["cpu_percent"] or 0,
        "CPUNano": document["cpu"] or 0,
        "MemLimit": document["memory_limit"] or 0,
        "NetInput": document["received"] or 0,
        "NetOutput": document["sent"] or 0,
        "BlockInput": document["read"] or 0,
        "BlockOutput": document["written"] or 0,
    }
    names = ("id", "name", "cpu_percent", "mem_usage", "mem_percent", "net_io", "block_io", "pids", "cpu_time")
    return Item(cells[0], cells, document, fields, {}, {**dict(zip(names, cells, strict=False)), "avg_cpu": cells[9]})


def _shown_percent(value: float | None) -> str:
    return "--" if value is None else f"{value:.2f}%"


def _size(count: int | None) -> str:
    """Return a number of bytes as docker writes it: four digits, powers of 1000."""
    if count is None:
        return "--"
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.4g}{units[0]}"


def _seconds(nanoseconds: int | None) -> str:
    """Return a span as Go writes it: 6.757692ms, 1m2.5s."""
    if nanoseconds is None:
        return "--"
    if nanoseconds < _NANO:
        for unit, size in (("ms", 1_000_000), ("µs", 1000)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.6f}".rstrip("0").rstrip(".") + unit
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * _NANO)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / _NANO:.9f}".rstrip("0").rstrip(".")
    prefix = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{prefix}{seconds}s"
