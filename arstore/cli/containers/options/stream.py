"""The options of `run`, `create`, `start`, `attach` and `exec` about streams, terminals and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.parameter import ANY, option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.runtime.stdio.attach import Attach

    F = TypeVar("F", bound="Callable[..., Any]")

    class LogWords(TypedDict):
        """The options about the log, as they were typed."""

        log_driver: str
        log_opt: tuple[str, ...]


_STREAMS = ("stdin", "stdout", "stderr")
_DETACH_KEYS, _TYPED = "ctrl-p,ctrl-q", b"\x10\x11"
"""As in podman and docker."""


detach_keys_option = option(
    "--detach-keys",
    metavar="KEYS",
    type=ANY,
    default=_DETACH_KEYS,
    show_default=True,
    help="Keys that leave the container running: characters or ctrl-X, separated by commas; empty for none.",
)
sig_proxy_option = option(
    "--sig-proxy",
    is_flag=True,
    default=True,
    help="Pass signals on to the command; with --sig-proxy=false, they end only arstore. The default is true.",
)
attach_option = option(
    "-a", "--attach", metavar="STREAM", multiple=True, help="Attach only stdin, stdout or stderr; repeatable."
)
_LOG_OPTIONS = (
    option(
        "--log-driver",
        metavar="DRIVER",
        type=ANY,
        default="k8s-file",
        show_default=True,
        help="Where the output of a detached container goes: k8s-file, none, or passthrough (to the streams of run).",
    ),
    option(
        "--log-opt",
        metavar="NAME=VALUE",
        multiple=True,
        help="Limit the log: max-size=SIZE of a file (10m by default, 0 for no limit), max-file=N files (5).",
    ),
)


def log_options(function: F) -> F:
    """Add the options of LogWords to a command."""
    for decorate in reversed(_LOG_OPTIONS):
        function = decorate(function)
    return function


def attach_of(streams: tuple[str, ...], detach_keys: str, sig_proxy: bool) -> Attach:
    """Return how to attach. Raises UsageError."""
    from arstore.runtime.stdio.attach import Attach

    names = tuple(name.lower() for name in streams)
    for name in names:
        if name not in _STREAMS:
            from arstore.oci.document import shown

            raise UsageError(f"--attach {shown(name)}", "is not a stream", f"use {', '.join(_STREAMS)}")
    return Attach(names or _STREAMS, keys_of(detach_keys), sig_proxy)


def keys_of(text: str) -> bytes:
    """Return the bytes that the keys of --detach-keys type. Raises UsageError."""
    if text == _DETACH_KEYS:
        return _TYPED
    from arstore.runtime.stdio.detach_keys import parse_keys

    return parse_keys(text)
