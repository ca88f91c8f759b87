"""`healthcheck` and its command `run`: check a container's health now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import ContainerCommand, command, json_option, needing
from arstore.cli.group import CommandEntry, Group
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument
from arstore.cli.terminal.output import utc_time, write_json, write_line
from arstore.errors import NotFoundError

if TYPE_CHECKING:
    from arstore.cli.session import Session


@json_option
def _healthcheck(_: Session) -> None:
    """Check the health of containers.

    Example:

    arstore healthcheck run web
    """


healthcheck = Group(
    "healthcheck",
    _healthcheck,
    {"Commands": {"run": CommandEntry("containers.healthcheck", "healthcheck_run", "Check a container's health now.")}},
)


@needing(Need.ENTRY)
@command("run", cls=ContainerCommand)
@argument("container_id", metavar="ID")
@json_option
def healthcheck_run(session: Session, container_id: str) -> int:
    """Check a container's health now.

    Runs the check of the image's HEALTHCHECK, or of `run --health-cmd`, in the running container. The result counts
    like those of the checks that the container's launcher makes at each interval; `arstore ps` shows the health.

    Prints nothing for a check that succeeded, and otherwise the health: unhealthy, or starting in the start period. The
    exit status is 0 or 1.

    Example:

    arstore healthcheck run web
    """
    from arstore.runtime.health.run import run_check
    from arstore.runtime.health.state import STARTING
    from arstore.runtime.lifecycle.request import recorded_request
    from arstore.runtime.spec.health import health_check

    with session.store() as store:
        container = store.containers.find(container_id)
        recorded = recorded_request(container)
        check = health_check(store.config(store.find(recorded.image)).healthcheck, recorded.options.health)
    if check is None:
        raise NotFoundError(
            f"container {container.id}", "has no health check", "`arstore run --health-cmd` gives it one"
        )
    result, health = run_check(container.path, check)
    if session.json:
        times = {"start": utc_time(result.start), "end": utc_time(result.end)}
        write_json({"health": health.status, "failing": health.failing, **result._asdict(), **times})
    elif result.exit_code:
        write_line("starting" if health.status == STARTING and not health.failing else "unhealthy")
    return result.exit_code
