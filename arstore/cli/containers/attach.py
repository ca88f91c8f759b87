"""`attach`: connect this terminal, or these streams, to a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.command import ContainerCommand, command, json_option
from arstore.cli.containers.ended import attached_status_of
from arstore.cli.containers.options.stream import attach_of, detach_keys_option, sig_proxy_option
from arstore.cli.parameter import argument, option

if TYPE_CHECKING:
    from arstore.cli.session import Session


@command("attach", cls=ContainerCommand)
@argument("container_id", metavar="CONTAINER")
@option("--no-stdin", is_flag=True, help="Do not pass stdin to the container.")
@sig_proxy_option
@detach_keys_option
@json_option
def attach(session: Session, container_id: str, no_stdin: bool, sig_proxy: bool, detach_keys: str) -> int:
    """Connect to a running container.

    Stdin, stdout and stderr are connected. What the container writes from now on is printed; `arstore logs` prints what
    it wrote before. Input is passed on if the container was run with -i. On a terminal, the keys ctrl-p ctrl-q detach,
    and leave the container running. Several processes can be attached to one container; one that is too slow loses
    output, which stays in the log.

    The exit status is that of the container, or 0 after the keys. Containers that run in the foreground without -it
    have their streams in that command, and are refused.

    Examples:

    arstore attach web

    arstore attach --no-stdin --sig-proxy=false web
    """
    from arstore.runtime.lifecycle.attaching import attach as attach_to

    streams = ("stdout", "stderr") if no_stdin else ()
    how = attach_of(streams, detach_keys, sig_proxy)
    with session.store() as store:
        container = store.containers.find(container_id)
    return attached_status_of(session, container.name, attach_to(container.path, how))
