"""The OCI runtime that a container is run with: as given, as configured, or the first that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RuntimeMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.api.config.settings import Settings
    from arstore.runtime.driver import Runtime
    from arstore.store.store import Store


def working_runtime(
    store: Store,
    settings: Settings | None,
    given: str | None,
    *,
    cgroups: bool,
    timeout: float | None,
    warn: Callable[[str], None],
) -> Runtime:
    """Return the OCI runtime *given*, or the configured one; *timeout* (seconds) limits the search.

    *warn* is called with a sentence about what the runtime lacks. The graph is closed first, because the search forks.
    Raises RuntimeMissingError, UsageError, HostError.
    """
    from arstore.runtime.discovery import find_runtime

    store.close()
    chosen = settings.runtime if given is None and settings is not None else given
    try:
        runtime = find_runtime(chosen, store.directories.runroot, cgroups=cgroups, timeout=timeout)
    except RuntimeMissingError as error:
        path = "" if given is not None or settings is None else settings.origins.get("runtime", "")
        if not path or error.hint:
            raise
        raise RuntimeMissingError(error.what, error.why, f"runtime in {path} chooses it") from error
    if runtime.note:
        warn(runtime.note)
    return runtime
