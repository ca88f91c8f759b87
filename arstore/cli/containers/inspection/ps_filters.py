"""The filters of `ps`, with podman's keys and meanings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.containers.inspection.ps_fields import podmans_status
from arstore.cli.terminal.filters import Filter, label_matches, moment, parse_filters, pattern_matches
from arstore.errors import AmbiguousError, ArstoreError, InvalidReferenceError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.runtime.inspection.about import About
    from arstore.store.containers import Container
    from arstore.store.store import Store

STATUSES = (
    *("created", "starting", "running", "paused", "restarting", "exited", "failed", "dead"),
    *("initialized", "stopped", "stopping", "removing", "unknown"),
)
"""Those of arstore, and those of podman that no container here has."""
_HEALTH = ("none", "healthy", "unhealthy", "starting")
_OF_ENDED = ("status", "exited")


def every_matches(texts: Sequence[str]) -> bool:
    """Return whether these filters ask for containers that are not running."""
    return any(text.partition("=")[0] in _OF_ENDED for text in texts)


def match(store: Store, found: list[About], texts: Sequence[str], known: Sequence[str]) -> list[About]:
    """Return the containers that match the filters, whose keys are *known*.

    Raises UsageError, NotFoundError for a container or image."""
    tests = [_test(store, key, filters) for key, filters in parse_filters(texts, known).items()]
    return [about for about in found if all(test(about) for test in tests)]


def _test(store: Store, key: str, filters: list[Filter]) -> Callable[[About], bool]:
    values = [one.value for one in filters]
    if key in {"label", "label!"}:
        if key == "label":
            return lambda about: all(label_matches(about.labels, value) for value in values)
        return lambda about: not any(label_matches(about.labels, value) for value in values)
    if key == "id":
        return lambda about: any(about.container.id.startswith(value) for value in values)
    if key in {"name", "command"}:
        return lambda about: any(pattern_matches(one, *_texts(about, key)) for one in filters)
    if key == "status":
        _require_known(filters, STATUSES)
        return lambda about: bool({about.status, podmans_status(about)} & set(values))
    if key == "health":
        _require_known(filters, _HEALTH)
        return lambda about: ("none" if about.health is None else about.health.status) in values
    if key == "exited":
        codes = {_number(one) for one in filters}
        return lambda about: (
            about.state is not None and podmans_status(about) == "exited" and about.state.exit_code in codes
        )
    return _other_test(store, key, filters)


def _other_test(store: Store, key: str, filters: list[Filter]) -> Callable[[About], bool]:
    values = [one.value for one in filters]
    if key in {"before", "since"}:
        times = [_container(store, one).record.created for one in filters]
        if key == "before":
            return lambda about: any(about.container.record.created < when for when in times)
        return lambda about: any(about.container.record.created > when for when in times)
    if key == "until":
        until = max(moment(one) for one in filters)
        return lambda about: about.container.record.created < until
    if key == "ancestor":
        digests = {digest for one in filters for digest in _digests(store, one)}
        return lambda about: about.container.record.image in digests
    if key == "volume":
        return lambda about: any(
            value in {mount.source, mount.destination, mount.name} for mount in about.mounts for value in values
        )
    if key == "network":
        return lambda about: about.options.network in values
    if key == "restart-policy":
        return lambda about: about.options.restart.policy in values
    # There are no pods.
    return lambda _: False


def _texts(about: About, key: str) -> tuple[str, ...]:
    return (about.container.name,) if key == "name" else (" ".join(about.args),)


def _require_known(filters: list[Filter], known: Sequence[str]) -> None:
    for one in filters:
        if one.value not in known:
            raise UsageError(one.text, "is not known", f"use one of {', '.join(known)}")


def _number(found: Filter) -> int:
    if not (found.value.isascii() and found.value.isdigit() and len(found.value) <= 4):
        raise UsageError(found.text, "is not an exit status")
    return int(found.value)


def _container(store: Store, found: Filter) -> Container:
    try:
        return store.containers.find(found.value)
    except (NotFoundError, AmbiguousError) as error:
        raise UsageError(found.text, error.why) from error


def _digests(store: Store, found: Filter) -> set[str]:
    """Return the digests of the image that the filter names; none for an image that does not exist."""
    try:
        image = store.find(found.value)
    except (NotFoundError, InvalidReferenceError):
        return set()
    except ArstoreError as error:
        raise UsageError(found.text, error.why) from error
    return {image.digest, *image.record.manifests}
