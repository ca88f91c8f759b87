"""The files that configure arstore here, and the settings with the place that each comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api import places
from arstore.errors import ArstoreError
from arstore.linux.isolation.user_namespace import acting_uid
from arstore.tar.limits import Limits, limit_names
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from arstore.api.config.settings import Settings

DEFAULT, OPTION, ENVIRONMENT = "default", "option", "environment"


class Given(NamedTuple):
    """Values of the command line and the environment; None for those that were not given."""

    root: str | None = None
    runroot: str | None = None
    config: str | None = None
    log_level: str | None = None
    additional: Sequence[str] = ()


class Setting(NamedTuple):
    """A value, and where it comes from: DEFAULT, OPTION, ENVIRONMENT, or the path of a file."""

    value: Any
    source: str


def settings(
    given: Given, configured: Settings | None, directories: tuple[str, str], stores: Sequence[str]
) -> dict[str, Setting]:
    """Return every setting by its dotted name in the configuration file; *stores* are the additional ones in use."""
    origins: Mapping[str, str] = {} if configured is None else configured.origins
    environ = os.environ

    def of(key: str, value: object, default: object) -> Setting:
        return Setting(default if value is None else value, origins.get(key, DEFAULT))

    found = {
        "root": _directory("root", directories[0], given.root, "ARSTORE_ROOT", origins),
        "runroot": _directory("runroot", directories[1], given.runroot, "ARSTORE_RUNROOT", origins),
        "runtime": of("runtime", configured and configured.runtime, None),
        "tree": of("tree", configured and configured.tree, "auto"),
        "file-digests": of("file-digests", configured and configured.file_digests, "auto"),
        "policy": of("policy", configured and configured.policy, None),
        "log-level": of("log-level", configured and configured.log_level, "info"),
        "max-size": of("max-size", configured and (configured.max_size or None), None),
        "high-water": of("high-water", configured and (configured.high_water or None), None),
        "low-water": of("low-water", configured and (configured.low_water or None), None),
        "protect": of("protect", list(configured.protects) if configured else [], []),
        "load.require-label": of("load.require-label", configured and configured.require_label, False),
    }
    if given.log_level is not None:
        found["log-level"] = Setting(given.log_level, OPTION)
    source = origins.get("additional-store", DEFAULT)
    if given.additional or places.ADDITIONAL in environ:
        source = OPTION if given.additional else ENVIRONMENT
    elif stores and source == DEFAULT:
        source = places.stores_conf(environ, acting_uid())
    found["additional-store"] = Setting(list(stores), source)
    limits = Limits() if configured is None else configured.limited(Limits())
    for name, field in limit_names().items():
        found[f"limits.{name}"] = Setting(getattr(limits, field), origins.get(f"limits.{name}", DEFAULT))
    return found


def _directory(key: str, value: str, given: str | None, variable: str, origins: Mapping[str, str]) -> Setting:
    if given is not None:
        return Setting(value, ENVIRONMENT if os.environ.get(variable) == given else OPTION)
    return Setting(value, origins.get(key, DEFAULT))


def paths(given: Given, configured: Settings | None, directories: tuple[str, str]) -> dict[str, Any]:
    """Return the directories, and the files that are read for them; None for a file that does not exist."""
    from arstore.registry.configuration.auth_file import auth_files
    from arstore.registry.configuration.places import Places
    from arstore.registry.configuration.registries_conf import registries_files

    environ, here = os.environ, Places.here()
    policy, what = _policy(configured)
    stores = places.stores_conf(environ, acting_uid())
    auth = [one.path for one in auth_files(here) if os.path.exists(one.path)]
    try:
        registries = registries_files(here)
    except ArstoreError:
        registries = []
    return {
        "root": directories[0],
        "runroot": directories[1],
        "config_files": list(configured.files) if configured is not None else [],
        "config_places": _config_places(given),
        "policy": policy,
        "policy_decides": what,
        "registries_conf": registries,
        "stores_conf": stores or None,
        "auth_files": auth,
    }


def _config_places(given: Given) -> list[str]:
    """Return where configuration files are looked for, the most important first."""
    if given.config is not None:
        return [os.path.abspath(given.config)]
    return [places.user_config(os.environ), places.host_config()]


def _policy(configured: Settings | None) -> tuple[str | None, str]:
    """Return the path of the policy file, and what it does in words."""
    from arstore.trust.policy_file import accepts_everything, find_file

    named = configured.policy if configured is not None else None
    try:
        found = find_file(named or "")
    except ArstoreError as error:
        return error.what, f"cannot be used: {error.why}"
    if found is None:
        return None, "every image is accepted, because there is no policy"
    return found.path, "every image is accepted" if accepts_everything(found.data) else "decides by its rules"
