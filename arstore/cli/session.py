"""The state of one run of the program: its store, its log level and its output format.

A session is created before the command line is parsed, so that errors of the parser are printed in the right format.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from arstore.cli.terminal.output import human_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from arstore.api.config.settings import Settings
    from arstore.api.opened import OpenStore
    from arstore.api.store import Store as Library
    from arstore.errors import ArstoreError
    from arstore.store.additional import Wanted
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.tar.limits import Limits
    from arstore.trust.rules import Rules

    _Methods = TypeVar("_Methods", bound=OpenStore)

LEVELS = ("error", "warning", "info", "debug")
_MOST_MOVED = 10
"""Most names that are reported one by one."""
PROGRESS_KINDS = ("auto", "bar", "lines", "json", "none")


class Ending(Protocol):
    """The running command, as far as it decides the exit status of an error."""

    def status_of(self, error: ArstoreError) -> int:
        """Return the exit status for *error*."""


class Session:
    """Values of the global options. `command` is the running command, once it is known."""

    def __init__(self) -> None:
        self.config: str | None = None
        """The configuration file of `--config` or ARSTORE_CONFIG."""
        self.settings: Settings | None = None
        """Settings from the configuration files, once `configure` was called; None without a file."""
        self.given_level: str | None = None
        """The value of `--log-level`."""
        self.root: str | None = None
        self.runroot: str | None = None
        self.additional: tuple[str, ...] = ()
        """Roots of additional stores, as they were given."""
        self.additional_owners: tuple[str, ...] = ()
        """Users, other than this one and root, that may own additional stores."""
        self.level = "info"
        self.json = False
        self.quiet = False
        self.progress_kind = "auto"
        self.max_size: str | None = None
        """The value of `--max-size`, the size that the store may have; 0 for no limit."""
        self.file_digests: str | None = None
        """The digests of files that imports compute, from `--file-digests`; None if it was not given."""
        self.command: Ending | None = None
        self.place = ""
        """The store's root, once it is known."""
        self.done = ""
        """A sentence about what the command has done, for the error if its result cannot be printed."""
        self.tell: Callable[[ArstoreError], int] | None = None
        """Prints an error that ends the process immediately (such as SIGBUS), and returns the exit status."""
        self.rules: Rules | None = None
        """The signature policy of the command, after its first use."""
        self.kept: object = None
        """A large object that is kept alive until the process exits, so that no time is spent on freeing it."""

    def configure(self, *, keep: bool = True) -> None:
        """Read the configuration files, before a command runs. Without a file nothing is imported for them.

        *keep* may write their parsed form to the usual runroot. Raises UsageError, ConfigFileError.
        """
        from arstore.api.opening import settings_of

        self.settings = settings_of(self.config, keep=keep)
        if self.settings is not None and self.settings.log_level is not None and self.given_level is None:
            self.level = self.settings.log_level

    @contextmanager
    def store(self, create: bool = False, *, reads: bool = False, makes: bool = False) -> Iterator[Store]:
        """Open the store for the duration of the context.

        *create* is for commands that import images: the store is created if it does not exist. With additional stores,
        a command that only *reads* images needs no store, and one that *makes* something from an image creates the
        store. Raises StoreError, HostError, UsageError.
        """
        from arstore.api.opening import opened, set_budget
        from arstore.workers import fatal

        fatal.report = self.tell
        root, runroot = self.directories()
        self.place = os.path.abspath(root)
        self.debug(f"store in {root}, runtime state in {runroot}")
        additional = self.additional_stores(root)
        create = create or (makes and bool(additional))
        lacks = reads and bool(additional) and not create
        settings, most = self.settings, self._most()
        with opened(root, runroot, create=create, additional=additional, may_lack=lacks, settings=settings) as store:
            if most is not None:
                set_budget(store, settings, most)
            store.file_digests = self.file_digests or store.file_digests
            try:
                yield store
            finally:
                self._tell_besides(store)

    def _most(self) -> int | None:
        """Return the bytes that `--max-size` allows. Raises UsageError."""
        if self.max_size is None:
            return None
        from arstore.errors import UsageError
        from arstore.runtime.spec.sizes import parse_size

        try:
            return parse_size(self.max_size)
        except UsageError as error:
            raise UsageError(f"--max-size {self.max_size}", error.why, error.hint) from error

    def library(
        self, rules: Rules | None = None, *, create: bool = False, reads: bool = False, makes: bool = False
    ) -> AbstractContextManager[Library]:
        """Open the store as the library offers it, with this policy; the other arguments are those of `store`."""
        from arstore.api.store import Store as Library

        return self.opened(Library, rules, create=create, reads=reads, makes=makes)

    @contextmanager
    def opened(
        self,
        methods: type[_Methods],
        rules: Rules | None = None,
        *,
        create: bool = False,
        reads: bool = False,
        makes: bool = False,
    ) -> Iterator[_Methods]:
        """Open the store with some of the library's *methods*, for a command that starts faster without the others."""
        with self.store(create, reads=reads, makes=makes) as store:
            yield methods.over(store, self.settings, rules, self.warn)

    def _tell_besides(self, store: Store) -> None:
        """Report side effects of the command."""
        if store.elsewhere is not None and store.has_taken:
            for error in store.elsewhere.stores.absent:
                self.warn(f"{error.what}: {error.why}; layers that it has may be stored here again")
        if store.dropped is not None and store.dropped.count:
            self.warn(str(store.dropped))
        if store.cleared:
            self.note(f"removed {human_size(store.cleared)} left in the store by killed commands")
        images, freed = store.given_up
        if images:
            which = "1 image" if images == 1 else f"{images} images"
            self.note(f"freed {human_size(freed)} in cached trees of {which}; the next use builds them again")
        for moved in store.moved[:_MOST_MOVED]:
            self.note(f"{moved.name} was {moved.was}")
        if len(store.moved) > _MOST_MOVED:
            self.note(f"{len(store.moved) - _MOST_MOVED} more names moved from other images")

    def additional_stores(self, root: str) -> list[Wanted]:
        """Return the additional stores from the options, the environment or a file. Raises UsageError, HostError."""
        from arstore.api.opening import additional_to

        found = additional_to(root, self.additional, self.additional_owners, self.settings)
        if found:
            self.debug(f"additional stores in {', '.join(one.root for one in found)}")
        return found

    def directories(self) -> tuple[str, str]:
        """Return root and runroot: as given, as configured, or by default.

        Raises UsageError, PermissionDeniedError, OSError.
        """
        from arstore.api.opening import directories_of

        return directories_of(self.root, self.runroot, self.settings)

    def limits(self, texts: Sequence[str], *, strict_xattrs: bool = False) -> Limits:
        """Return the limits: of *texts* (`--limit`), as configured, or by default. Raises UsageError."""
        from arstore.tar.limits import Limits, changed

        limits = Limits(strict_xattrs=strict_xattrs)
        return changed(texts, limits if self.settings is None else self.settings.limited(limits))

    def policy(self, given: str | None) -> str:
        """Return the policy file that is *given* or configured; "" for the usual places."""
        return given or (self.settings is not None and self.settings.policy) or ""

    def requires_label(self, given: bool | None) -> bool:
        """Return whether `load` refuses images without the label: as *given*, as configured, or not."""
        if given is None and self.settings is not None:
            given = self.settings.require_label
        return bool(given)

    def progress(self, noun: str = "layer") -> AbstractContextManager[Progress]:
        """Return a context manager that shows progress of each *noun*, in the format of `--progress`."""
        from arstore.cli.terminal.progress import shown_progress

        return shown_progress("none" if self.quiet and self.progress_kind == "auto" else self.progress_kind, noun)

    def report(self, text: str) -> None:
        """Print a failure that does not end the command."""
        self._say("error", text)

    def warn(self, text: str) -> None:
        """Print a warning for people; programs need not read it."""
        self._say("warning", f"warning: {text}")

    def note(self, text: str) -> None:
        """Print additional information for people."""
        self._say("info", text)

    def tell_confinement(self) -> None:
        """Print, with `--log-level debug`, how workers that read images are confined."""
        if self.level == "debug":
            from arstore.workers import confinement

            self.debug(f"workers that read layers are confined by: {confinement.means() or 'nothing available here'}")

    def debug(self, text: str) -> None:
        """Print what is being done, with `--log-level debug`."""
        self._say("debug", text)

    def _say(self, level: str, text: str) -> None:
        chosen = "error" if self.quiet else self.level
        if LEVELS.index(level) <= LEVELS.index(chosen):
            write_message(printable(text))


def write_message(text: str) -> None:
    """Write one line to stderr. Errors are ignored, because they cannot be reported anywhere."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"arstore: {text}\n")
        sys.stderr.flush()
    except OSError:
        return
