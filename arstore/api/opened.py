"""`OpenStore`: the files of a store, its settings and its signature policy, for the operations in `api.store`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from arstore.api.opening import additional_to, directories_of, opened, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from arstore.api.config.settings import Settings
    from arstore.api.values.images import Image
    from arstore.api.values.imports import ImportedImage
    from arstore.runtime.driver import Runtime
    from arstore.store.store import Store as Inner
    from arstore.tar.limits import Limits
    from arstore.trust.rules import Rules

    Path = str | os.PathLike[str]
    Named = str | Image | ImportedImage


class OpenStore:
    """A store that opens its files at the first use; a context manager that closes them."""

    def __init__(
        self,
        root: Path | None = None,
        runroot: Path | None = None,
        additional_stores: Sequence[Path] = (),
        *,
        policy: Path | None = None,
        require_signatures: bool = False,
        config: Path | None = None,
    ) -> None:
        """Set the directories; the defaults are those of the command line (ARSTORE_ROOT, ARSTORE_RUNROOT).

        The configuration files of the user and the host are read here, as by the command line. *config*, or else
        ARSTORE_CONFIG, replaces them; /dev/null means none (docs/configuration.md).

        Images of *additional_stores* are used in place, without copying (docs/additional-stores.md). The default is the
        list in the environment, in the configuration or in stores.conf.

        *policy* is the path of the signature policy; the default is the configured one, the user's or the host's. It is
        read when an image is imported, copied, mounted, unpacked or run. With *require_signatures*, images for which
        the policy requires no signature are refused.

        Raises:
            UsageError: a directory is an empty string, or the list of additional stores is invalid.
            PermissionDeniedError: the default runroot belongs to another user.
            ConfigFileError: a configuration file or stores.conf cannot be used.
        """
        from arstore.trust.rules import Rules

        chosen = _given(root, "ARSTORE_ROOT"), _given(runroot, "ARSTORE_RUNROOT")
        self._settings = settings = settings_of(text_of(config))
        self.root, self.runroot = map(os.path.abspath, directories_of(*chosen, settings))

        self._given_rules: Rules | None = Rules(
            text_of(policy) or (settings and settings.policy) or "", require_signatures
        )
        stores = [os.fspath(one) for one in additional_stores]
        self._additional = additional_to(self.root, stores, settings=settings)
        self._stack = ExitStack()
        self._inner: Inner | None = None
        self._tell: Callable[[str], None] = _warn

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store's files. A later call opens them again."""
        self._inner = None
        self._stack.close()

    def __repr__(self) -> str:
        return f"Store({self.root!r}, {self.runroot!r})"

    @classmethod
    def over(
        cls,
        inner: Inner | None,
        settings: Settings | None = None,
        rules: Rules | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> Self:
        """Return a store over one that is open already, with the settings and the policy of its user.

        *warn* prints a warning, instead of the module `warnings`. Closing the returned store leaves *inner* open.
        Without *inner*, only copies between other media are possible.
        """
        made = cls.__new__(cls)
        made.root = "" if inner is None else inner.directories.root
        made.runroot = "" if inner is None else inner.directories.runroot
        made._settings, made._given_rules = settings, rules
        made._additional = []
        made._stack = ExitStack()
        made._inner = inner
        made._tell = warn or _warn
        return made

    def _open(self) -> Inner:
        """Return the internal store, open until `close`. Raises NoStoreError."""
        if self._inner is None:
            context = opened(self.root, self.runroot, additional=self._additional, settings=self._settings)
            self._inner = self._stack.enter_context(context)
        return self._inner

    @property
    def _rules(self) -> Rules:
        """The signature policy; for a command that applies none, the user's or the host's."""
        if self._given_rules is None:
            from arstore.trust.rules import Rules

            self._given_rules = Rules()
        return self._given_rules

    def _limits(self) -> Limits:
        """Return the configured limits, or the defaults."""
        from arstore.tar.limits import DEFAULT_LIMITS

        return DEFAULT_LIMITS if self._settings is None else self._settings.limited(DEFAULT_LIMITS)

    def _working_runtime(self, store: Inner, given: str | None, *, cgroups: bool, timeout: float | None) -> Runtime:
        """Return the OCI runtime that is *given* or configured, or the first that works.

        Raises RuntimeMissingError, UsageError, HostError.
        """
        from arstore.api.runtimes import working_runtime

        return working_runtime(store, self._settings, given, cgroups=cgroups, timeout=timeout, warn=self._tell)

    def _require_admitted(self, store: Inner, image: Named) -> None:
        """Apply the policy to *image*. Raises RejectedError, PolicyError."""
        if not self._rules.is_open:
            from arstore.transport.admission.kept import require_admitted

            require_admitted(store, store.find_image(query_of(image)), self._rules)

    @contextmanager
    def _bringing(self, *, forks: bool = True) -> Iterator[Inner]:
        """Yield the internal store. A missing store is created, and removed again if the context fails."""
        from arstore.disk.paths import STORE_FILE

        if forks:
            warn_of_threads()
        if self._inner is not None or os.path.lexists(f"{self.root}/{STORE_FILE}"):
            yield self._open()
            return
        more, settings = self._additional, self._settings
        with opened(self.root, self.runroot, create=True, additional=more, settings=settings) as store:
            yield store


_warned = False


def warn_of_threads() -> None:
    """Warn once that a forked child may hang, if this process has other threads."""
    global _warned
    # Without the module there are no threads of Python's, and a command need not load it.
    threading = sys.modules.get("threading")
    if not _warned and threading is not None and threading.active_count() > 1:
        import warnings

        _warned = True
        why = "arstore forks in a process with other threads: a lock that one of them holds stays locked in the child"
        warnings.warn(why, RuntimeWarning, stacklevel=3)


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=3)


def _given(path: Path | None, variable: str) -> str | None:
    return os.environ.get(variable) if path is None else os.fspath(path)


def text_of(path: Path | None) -> str | None:
    """Return *path* as a string."""
    return None if path is None else os.fspath(path)


def query_of(image: Named) -> str:
    """Return the name, the digest or the prefix that means *image*."""
    return image if isinstance(image, str) else image.digest
