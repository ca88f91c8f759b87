"""`unshare`: run a command where mounts and owners of an ordinary user exist."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.command import ContainerCommand, command, json_option, needing
from arstore.cli.namespace import HOST_HINT, Need
from arstore.cli.parameter import RAW, argument
from arstore.errors import CommandNotExecutableError, CommandNotFoundError, HostError, reason

if TYPE_CHECKING:
    from typing import NoReturn

    from arstore.cli.session import Session


@needing(Need.OWNERS)
@command("unshare", cls=ContainerCommand, interspersed=False)
@argument("args", metavar="[CMD [ARG]...]", nargs=-1, type=RAW)
@json_option
def unshare(session: Session, /, args: tuple[str, ...]) -> int:
    """Run a command in which an ordinary user is root, and may mount.

    The command runs in its own user namespace, where the user's id is root and the user's subordinate ids are the other
    ids, and in its own mount namespace. `arstore mount` works there, and files of subordinate ids can be read and
    removed. Mounts end with the last process in it. Without CMD, the shell in SHELL is run. For root, only the mount
    namespace is new.

    The exit status is that of the command.

    Examples:

    arstore unshare sh -c 'cd $(arstore mount app:1) && ls'

    arstore unshare rm -rf rootfs
    """
    from arstore.linux.isolation import namespace, rootless, user_namespace

    if rootless.refused:
        raise HostError("unshare", rootless.refused, HOST_HINT)
    if os.geteuid() == 0 and not rootless.entered:
        namespace.unshare(namespace.CLONE_NEWNS)
        user_namespace.keep_mounts_private()
    return _execute(args or (os.environ.get("SHELL") or "/bin/sh",))


def _execute(args: tuple[str, ...]) -> NoReturn:
    """Become the command. Raises CommandNotFoundError, CommandNotExecutableError."""
    try:
        os.execvp(args[0], args)
    except FileNotFoundError:
        raise CommandNotFoundError(args[0], "no such command") from None
    except OSError as error:
        raise CommandNotExecutableError(args[0], reason(error)) from error
