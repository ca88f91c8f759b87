"""One run of the program: where its store is, how much it says, and in which form.

A session is made before the command line is parsed, so that errors of the parser are told in the form that was asked
for.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from arstore.cli import places
from arstore.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from arstore.errors import ArstoreError
    from arstore.store.progress import Progress
    from arstore.store.store import Store

LEVELS = ("error", "warning", "info", "debug")
PROGRESS_KINDS = ("auto", "bar", "lines", "json", "none")


class Ending(Protocol):
    """What has a say in how an error ends the program: the command that runs."""

    def status_of(self, error: ArstoreError) -> int:
        """The exit status."""


class Session:
    """What the global options say. `command` is the command that runs, once that is known."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.runroot: str | None = None
        self.level = "info"
        self.json = False
        self.quiet = False
        self.progress_kind = "auto"
        self.command: Ending | None = None
        self.kept: object = None
        """What need not be taken apart before the process ends."""

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, open for the length of the context. Raises as Store."""
        from arstore.store.store import Store

        root, runroot = self.directories()
        self.debug(f"store in {root}, runtime state in {runroot}")
        with Store(root, runroot) as store:
            yield store

    def directories(self) -> tuple[str, str]:
        """Root and runroot, as given or by default. Raises PermissionDeniedError, OSError."""
        uid = os.geteuid()
        default = places.default_root(os.environ, uid)
        root = self.root or default
        if self.runroot:
            return root, self.runroot
        own = None if os.path.realpath(root) == os.path.realpath(default) else root
        return root, places.default_runroot(os.environ, uid, own)

    def progress(self, noun: str = "layer") -> AbstractContextManager[Progress]:
        """What tells the user how far long work on each *noun* is, in the form that fits."""
        from arstore.cli.progress import shown_progress

        return shown_progress("none" if self.quiet and self.progress_kind == "auto" else self.progress_kind, noun)

    def warn(self, text: str) -> None:
        """Tell people what they should look at; nothing for programs to read."""
        self._say("warning", f"warning: {text}")

    def note(self, text: str) -> None:
        """Tell people something that they did not ask for but may want to know."""
        self._say("info", text)

    def tell_confinement(self) -> None:
        """Tell, with `--log-level debug`, what stands between an image that is read and this host."""
        if self.level == "debug":
            from arstore.store import confinement

            self.debug(f"workers that read layers are confined by: {confinement.means() or 'nothing that works here'}")

    def debug(self, text: str) -> None:
        """Tell what is being done, with `--log-level debug`."""
        self._say("debug", text)

    def _say(self, level: str, text: str) -> None:
        chosen = "error" if self.quiet else self.level
        if LEVELS.index(level) <= LEVELS.index(chosen):
            write_message(printable(text))


def write_message(text: str) -> None:
    """Write one line of ours to stderr; nobody can be told when that fails."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"arstore: {text}\n")
        sys.stderr.flush()
    except OSError:
        return
