"""The whole report, in the order in which people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.info.abilities import abilities
from arstore.api.info.host import host, kernel_features
from arstore.api.info.mounting import runtime, tree_form
from arstore.api.info.namespaces import namespaces
from arstore.api.info.paths import Given, paths, settings
from arstore.api.info.store_state import store_state
from arstore.api.info.versions import versions
from arstore.disk.paths import Directories

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from arstore.api.config.settings import Settings
    from arstore.store.additional import Wanted

__all__ = ["Given", "report"]


def report(
    given: Given, configured: Settings | None, directories: tuple[str, str], additional: Sequence[Wanted]
) -> dict[str, Any]:
    """Return the report as one document; nothing is changed. *directories* are root and runroot, absolute.

    Forks before it opens the graph. An error of the store is part of the report. Raises OSError.
    """
    features = kernel_features()
    known = settings(given, configured, directories, [one.root for one in additional])
    place = Directories(*directories)
    found_runtime = runtime(place, known["runtime"].value, known["runtime"].source)
    space = namespaces()
    trees = tree_form(place, known["tree"].value, known["tree"].source, features, space)
    store = store_state(*directories, additional, known["protect"].value)
    return {
        "versions": versions(),
        "host": host(),
        "features": features,
        "without_root": space,
        "paths": paths(given, configured, directories),
        "store": store,
        "trees": trees,
        "runtime": found_runtime,
        "settings": {name: one._asdict() for name, one in known.items()},
        "abilities": abilities(store, features, found_runtime, space),
    }
