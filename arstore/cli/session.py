"""One run of the program: where its store is, how much it says, and in which form.

A session is made before the command line is parsed, so that errors of the parser are told in the form that was asked
for.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from arstore.cli.terminal.output import human_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from arstore.errors import ArstoreError
    from arstore.store.additional import Wanted
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.trust.rules import Rules

LEVELS = ("error", "warning", "info", "debug")
_MOST_MOVED = 10
"""Names that are reported one by one."""
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
        self.additional: tuple[str, ...] = ()
        """The roots of additional stores, as they were given."""
        self.additional_owners: tuple[str, ...] = ()
        """Users, besides this one and root, who may own them."""
        self.level = "info"
        self.json = False
        self.quiet = False
        self.progress_kind = "auto"
        self.command: Ending | None = None
        self.place = ""
        """The store's root, once it is known."""
        self.done = ""
        """What the command has done, for those who cannot be told on stdout."""
        self.tell: Callable[[ArstoreError], int] | None = None
        """Writes an error that ends the process in the middle of an instruction, and returns the exit status."""
        self.rules: Rules | None = None
        """The signature policy of the command, once something has asked for it."""
        self.kept: object = None
        """What need not be taken apart before the process ends."""

    @contextmanager
    def store(self, create: bool = False, *, reads: bool = False, makes: bool = False) -> Iterator[Store]:
        """The store, open for the length of the context; only what takes images in may *create* it. Raises as Store.

        Where there are additional stores, what *reads* images does without a store, and what *makes* something of one
        makes a store.
        """
        from arstore.api.opening import opened
        from arstore.workers import fatal

        fatal.report = self.tell
        root, runroot = self.directories()
        self.place = os.path.abspath(root)
        self.debug(f"store in {root}, runtime state in {runroot}")
        additional = self.additional_stores(root)
        create = create or (makes and bool(additional))
        lacks = reads and bool(additional) and not create
        with opened(root, runroot, create=create, additional=additional, may_lack=lacks) as store:
            try:
                yield store
            finally:
                self._tell_besides(store)

    def _tell_besides(self, store: Store) -> None:
        """Report what a command did besides what it was asked for."""
        if store.elsewhere is not None and store.has_taken:
            for error in store.elsewhere.stores.absent:
                self.warn(f"{error.what}: {error.why}; layers that it may have are stored here")
        if store.dropped is not None and store.dropped.count:
            self.warn(str(store.dropped))
        if store.cleared:
            self.note(f"removed {human_size(store.cleared)} that killed commands had left in the store")
        for moved in store.moved[:_MOST_MOVED]:
            self.note(f"{moved.name} was {moved.was}")
        if len(store.moved) > _MOST_MOVED:
            self.note(f"{len(store.moved) - _MOST_MOVED} more names stood for other images before")

    def additional_stores(self, root: str) -> list[Wanted]:
        """The additional stores of options, environment or file. Raises UsageError, HostError."""
        from arstore.api.opening import additional_to

        found = additional_to(root, self.additional, self.additional_owners)
        if found:
            self.debug(f"additional stores in {', '.join(one.root for one in found)}")
        return found

    def directories(self) -> tuple[str, str]:
        """Root and runroot, as given or by default. Raises UsageError, PermissionDeniedError, OSError."""
        from arstore.api.opening import directories_of

        return directories_of(self.root, self.runroot)

    def progress(self, noun: str = "layer") -> AbstractContextManager[Progress]:
        """What tells the user how far long work on each *noun* is, in the form that fits."""
        from arstore.cli.terminal.progress import shown_progress

        return shown_progress("none" if self.quiet and self.progress_kind == "auto" else self.progress_kind, noun)

    def report(self, text: str) -> None:
        """Tell people of a failure that does not end the command."""
        self._say("error", text)

    def warn(self, text: str) -> None:
        """Tell people what they should look at; nothing for programs to read."""
        self._say("warning", f"warning: {text}")

    def note(self, text: str) -> None:
        """Tell people something that they did not ask for but may want to know."""
        self._say("info", text)

    def tell_confinement(self) -> None:
        """Tell, with `--log-level debug`, what stands between an image that is read and this host."""
        if self.level == "debug":
            from arstore.workers import confinement

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
