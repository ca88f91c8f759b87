"""`logs`: the output of detached containers."""

from __future__ import annotations

import time
from contextlib import ExitStack
from heapq import merge
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json, write_shown
from arstore.errors import NotFoundError, StoreDamagedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.cli.session import Session
    from arstore.runtime.stdio.log_reader import LogReader, Wanted
    from arstore.runtime.stdio.logs import LogLine
    from arstore.store.containers import Container
    from arstore.store.store import Store

    Named = tuple[LogLine, str]

FOLLOW_INTERVAL = 0.2
"""Seconds between two reads of a log that is followed."""
_BATCH = 1 << 16


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("logs")
@argument("ids", metavar="CONTAINER...", nargs=-1, required=True)
@option("-f", "--follow", is_flag=True, help="Print new output until the container ends.")
@option("-t", "--timestamps", is_flag=True, help="Print the time before each line.")
@option("-n", "--names", is_flag=True, help="Print the container's name before each line, also of a single one.")
@option("--tail", metavar="N", default="all", help="Print only the last N lines; all by default.")
@option("--since", metavar="TIME", default="", help="Print only lines from TIME on.")
@option("--until", metavar="TIME", default="", help="Print only lines up to TIME.")
@json_option
def logs(
    session: Session,
    ids: tuple[str, ...],
    follow: bool,
    timestamps: bool,
    names: bool,
    tail: str,
    since: str,
    until: str,
) -> None:
    """Show the output of detached containers.

    What a container wrote to stderr is written to stderr. On a terminal, colours are kept and other control characters
    are escaped. The lines of several containers are sorted by time. TIME is in the form of RFC 3339, in seconds since
    1970, or how long ago, such as 10m or 1h30m.

    --follow goes on while the container is restarted, and ends with it. A log has a limited size (`run --log-opt`), and
    its oldest lines are removed. Output that found no space on the disk is missing; a line says how much.

    With --json, prints a list of {"time", "stream", "text"}, in which bytes that are not UTF-8 are replaced; of several
    containers, also the "container".

    Examples:

    arstore logs --follow --tail 20 web

    arstore logs --since 10m --timestamps --names web db
    """
    from arstore.runtime.stdio.log_reader import LogReader

    if session.json and follow:
        raise UsageError("logs", "--json and --follow exclude each other")
    wanted = _wanted(tail, since, until)
    with session.store() as store:
        containers = list({one.id: one for one in (_found(store, text, names) for text in ids)}.values())
    with ExitStack() as stack:
        readers = [(one, stack.enter_context(LogReader(one.path, wanted))) for one in containers]
        for container, reader in readers:
            _require_log(container, reader)
        lines = _merged(readers)
        if session.json:
            many = len(containers) > 1
            write_json([_document(line, name if many else "") for line, name in lines])
            return
        show = _Printer(timestamps, names or len(containers) > 1)
        show(lines)
        while follow and not _is_over(wanted):
            more = [container for container in containers if _may_write(container)]
            show(_merged(readers))
            if not more:
                break
            time.sleep(FOLLOW_INTERVAL)
        _warn(session, readers)


def _found(store: Store, text: str, names: bool) -> Container:
    """Return the container that *text* means. In docker, -n is --tail. Raises NotFoundError, AmbiguousError."""
    try:
        return store.containers.find(text)
    except NotFoundError as error:
        if not (names and text.isascii() and text.isdigit()):
            raise
        raise NotFoundError(error.what, error.why, f"--tail {text} prints the last {text} lines") from None


def _lines(text: str) -> int | None:
    """Return the number of lines; None, for all, if it is `all` or, as in podman, negative. Raises UsageError."""
    if text == "all":
        return None
    try:
        number = int(text) if text.isascii() else None
    except ValueError:
        number = None
    if number is None:
        from arstore.oci.document import shown

        raise UsageError(f"--tail {shown(text)}", "is not a number of lines", "write for example --tail 20, or all")
    return None if number < 0 else number


def _wanted(tail: str, since: str, until: str) -> Wanted:
    from arstore.runtime.spec.moments import parse_moment
    from arstore.runtime.stdio.log_reader import Wanted
    from arstore.runtime.stdio.logs import log_time

    return Wanted(
        _lines(tail),
        log_time(parse_moment(since, "--since ")) if since else "",
        log_time(parse_moment(until, "--until ")) if until else "",
    )


def _is_over(wanted: Wanted) -> bool:
    """Whether no line that is written from now on is wanted."""
    from arstore.runtime.stdio.logs import log_time

    return bool(wanted.until) and wanted.until < log_time(time.time())


def _require_log(container: Container, reader: LogReader) -> None:
    """Raise NotFoundError if the container's output does not go to a log."""
    if reader.exists:
        return
    from arstore.runtime.lifecycle.request import recorded_request

    try:
        driver = recorded_request(container).options.log
    except (NotFoundError, StoreDamagedError):
        return
    if not driver.is_file:
        raise NotFoundError(f"container {container.name}", f"has no log: it was run with --log-driver={driver.driver}")


def _merged(readers: Iterable[tuple[Container, LogReader]]) -> Iterator[Named]:
    """Yield what is new in all logs, by time, with the containers' names."""
    return merge(*(_named(reader, container.name) for container, reader in readers), key=lambda named: named[0].time)


def _named(reader: LogReader, name: str) -> Iterator[Named]:
    return ((line, name) for line in reader.read())


def _document(line: LogLine, name: str) -> dict[str, str]:
    about = {"time": line.time, "stream": line.stream, "text": line.data.decode("utf-8", "replace")}
    return {"container": name, **about} if name else about


class _Printer:
    """Prints lines, several at a time. Only the first part of a line gets a time and a name."""

    def __init__(self, timestamps: bool, names: bool) -> None:
        self._timestamps, self._names = timestamps, names
        self._unfinished: set[tuple[str, str]] = set()

    def __call__(self, lines: Iterable[Named]) -> None:
        batch: list[bytes] = []
        size, stream = 0, ""
        for line, name in lines:
            if batch and (line.stream != stream or size > _BATCH):
                write_shown(b"".join(batch), to_stderr=stream == "stderr", colours=True)
                batch, size = [], 0
            stream = line.stream
            batch.append(self._prefix(line, name) + line.data)
            size += len(batch[-1])
        if batch:
            write_shown(b"".join(batch), to_stderr=stream == "stderr", colours=True)

    def _prefix(self, line: LogLine, name: str) -> bytes:
        place = (name, line.stream)
        goes_on = place in self._unfinished
        (self._unfinished.discard if line.data.endswith(b"\n") else self._unfinished.add)(place)
        if goes_on:
            return b""
        words = [name] if self._names else []
        words += [line.time] if self._timestamps else []
        return "".join(f"{word} " for word in words).encode()


def _may_write(container: Container) -> bool:
    """Whether the container may write more: it runs, or is just being restarted."""
    from arstore.runtime.lifecycle.state import is_running
    from arstore.store.container_document import is_being_restarted

    # In this order: a restart ends with a container that runs.
    return is_running(container.path) or is_being_restarted(container.path) or is_running(container.path)


def _warn(session: Session, readers: Iterable[tuple[Container, LogReader]]) -> None:
    """Warn of output that is not there."""
    from arstore.runtime.lifecycle.state import known_status

    for container, reader in readers:
        if reader.missed:
            session.warn(f"container {container.name}: lines were removed from the log before they were read")
        state = known_status(container.path)
        if state is not None and state.lost:
            why = "because the disk was full when the container ended"
            session.warn(f"container {container.name}: {state.lost} bytes of its last output are missing, {why}")
