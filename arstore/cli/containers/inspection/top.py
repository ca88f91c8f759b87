"""`top`: the processes of a container."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import RAW, argument
from arstore.cli.terminal.output import write_json, write_table
from arstore.errors import ImageConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.cli.containers.inspection.top_columns import Names
    from arstore.cli.session import Session
    from arstore.runtime.inspection.processes import Process
    from arstore.store.containers import Container
    from arstore.store.store import Store


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.InUseError)
@needing(Need.ENTRY)
@command("top", interspersed=False)
@argument("container_id", metavar="ID")
@argument("words", metavar="[COLUMN]...", nargs=-1, type=RAW)
@json_option
def top(session: Session, container_id: str, words: tuple[str, ...]) -> None:
    """Show the processes of a running container.

    COLUMN is one of podman's descriptors: args, capamb, capbnd, capeff, capinh, capprm, comm, etime, group, groups,
    hgroup, hgroups, hpid, huid, huser, label, nice, pcpu, pgid, pid, ppid, rgroup, rss, ruser, seccomp, state, stime,
    time, tty, uid, user, vsz; or a code such as %C. Several are separated by commas or blanks. Options of ps are
    understood, too: -ef, aux, -o LIST. Nothing is run in the container.

    Pids are those in the container; those on the host are in the column hpid. Names of users and groups come from the
    container's /etc/passwd and /etc/group.

    Examples:

    arstore top web

    arstore top web pid,user,args
    """
    from arstore.cli.containers.inspection.top_columns import columns

    if "--json" in words:
        # Words after the container may be options of ps, so they are not parsed as options.
        session.json = True
    chosen = columns([word for word in words if word != "--json"])
    with session.store() as store:
        container = store.containers.find(container_id)
        found = _processes(container)
        names = _names(store, container)
    if session.json:
        write_json([_document(one, names) for one in found])
        return
    rows = [[column.text(one, names) for column in chosen] for one in found]
    write_table([column.heading for column in chosen], rows)


def _processes(container: Container) -> list[Process]:
    from arstore.runtime.inspection.processes import processes
    from arstore.runtime.lifecycle.state import status

    state = status(container.path)
    gone = NotFoundError(f"container {container.id}", "is not running, so it has no processes")
    if state.status not in {"running", "paused"} or state.process is None:
        raise gone
    state.require_reachable()
    try:
        return processes(state.process)
    except (FileNotFoundError, ProcessLookupError, KeyError):
        raise gone from None


def _names(store: Store, container: Container) -> Names:
    """Return the names in the container; without them, if its files cannot be read, numbers are shown."""
    from arstore.cli.containers.inspection.top_columns import Names
    from arstore.runtime.copying.root import opened_root
    from arstore.runtime.inspection.processes import uptime
    from arstore.runtime.spec.identity.users import group_names, user_names
    from arstore.runtime.spec.image_files import RootDirectory

    users: Mapping[int, str] = {}
    groups: Mapping[int, str] = {}
    with (
        opened_root(store, container) as fd,
        RootDirectory(f"/proc/self/fd/{fd}") as root,
        suppress(ImageConfigError, OSError),
    ):
        users, groups = user_names(root), group_names(root)
    return Names(users, groups, uptime())


def _document(one: Process, names: Names) -> dict[str, object]:
    return {
        "pid": one.pid,
        "host_pid": one.host_pid,
        "ppid": one.ppid,
        "pgid": one.pgid,
        "user": names.user(one.uids[1]),
        "uid": one.uids[1],
        "gid": one.gids[1],
        "state": one.state,
        "tty": one.tty,
        "nice": one.nice,
        "elapsed": round(max(0.0, names.now - one.started), 3),
        "cpu_seconds": one.cpu,
        "memory": one.memory,
        "virtual_memory": one.virtual,
        "command": one.comm,
        "args": one.args,
    }
