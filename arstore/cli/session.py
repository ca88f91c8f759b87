"""One run of the program: where its store is, how much it says, and in which form.

A session is made before the command line is parsed, so that errors of the parser are told in the form that was asked
for.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from arstore.cli import places
from arstore.cli.terminal.output import human_size, printable
from arstore.errors import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from arstore.errors import ArstoreError
    from arstore.store.additional import Wanted
    from arstore.store.progress import Progress
    from arstore.store.store import Store

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
        self.kept: object = None
        """What need not be taken apart before the process ends."""

    @contextmanager
    def store(self, create: bool = False, *, reads: bool = False, makes: bool = False) -> Iterator[Store]:
        """The store, open for the length of the context; only what takes images in may *create* it. Raises as Store.

        Where there are additional stores, what *reads* images does without a store, and what *makes* something of one
        makes a store.
        """
        from arstore.disk.paths import STORE_FILE
        from arstore.errors import ArstoreError
        from arstore.store.store import Store
        from arstore.workers import fatal

        fatal.report = self.tell
        root, runroot = self.directories()
        self.place = os.path.abspath(root)
        self.debug(f"store in {root}, runtime state in {runroot}")
        additional = self.additional_stores()
        create, lacks = create or (makes and bool(additional)), reads and bool(additional)
        is_new = create and not os.path.lexists(f"{self.place}/{STORE_FILE}")
        with (
            naming(self.place),
            Store(root, runroot, create=create, additional=additional, may_lack=lacks and not create) as store,
        ):
            store.relief = partial(_reclaim, store)
            if create:
                # Before anything is read of what is to come in.
                store.graph.verify()
            try:
                yield store
            except BaseException:
                if is_new:
                    # Only what takes images in makes a store.
                    with suppress(ArstoreError, OSError):
                        store.graph.unmake()
                raise
            finally:
                self._tell_besides(store)

    def _tell_besides(self, store: Store) -> None:
        """Report what a command did besides what it was asked for."""
        if store.dropped is not None and store.dropped.count:
            self.warn(str(store.dropped))
        if store.cleared:
            self.note(f"removed {human_size(store.cleared)} that killed commands had left in the store")
        for moved in store.moved[:_MOST_MOVED]:
            self.note(f"{moved.name} was {moved.was}")
        if len(store.moved) > _MOST_MOVED:
            self.note(f"{len(store.moved) - _MOST_MOVED} more names stood for other images before")

    def additional_stores(self) -> list[Wanted]:
        """The additional stores of options, environment or file. Raises UsageError, HostError."""
        environ, uid = os.environ, os.geteuid()
        if not (self.additional or places.ADDITIONAL in environ or places.stores_conf(environ, uid)):
            return []
        from arstore.cli import stores_conf

        own = self.root or places.default_root(environ, uid)
        found = stores_conf.wanted(self.additional, self.additional_owners, environ, own)
        if found:
            self.debug(f"additional stores in {', '.join(one.root for one in found)}")
        return found

    def directories(self) -> tuple[str, str]:
        """Root and runroot, as given or by default. Raises UsageError, PermissionDeniedError, OSError."""
        self._refuse_empty("--root", self.root, "ARSTORE_ROOT")
        self._refuse_empty("--runroot", self.runroot, "ARSTORE_RUNROOT")
        uid = os.geteuid()
        default = places.default_root(os.environ, uid)
        root = self.root or default
        if self.runroot:
            return root, self.runroot
        own = None if os.path.realpath(root) == os.path.realpath(default) else root
        return root, places.default_runroot(os.environ, uid, own)

    @staticmethod
    def _refuse_empty(option: str, given: str | None, variable: str) -> None:
        """An empty text, as of a script's variable that was never set, must not mean the default directory."""
        if given == "" or (given is None and os.environ.get(variable) == ""):
            from arstore.errors import UsageError

            raise UsageError(option if given == "" else variable, "is empty", "give a directory, or leave it out")

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


def _reclaim(store: Store) -> int:
    from arstore.maintenance.gc import reclaim

    return reclaim(store)


def write_message(text: str) -> None:
    """Write one line of ours to stderr; nobody can be told when that fails."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"arstore: {text}\n")
        sys.stderr.flush()
    except OSError:
        return
