"""`--filter` of `volume ls` and `volume prune`: which volumes match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.filters import label_matches, moment, parse_filters, truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.api.values.containers import NamedVolume
    from arstore.cli.terminal.filters import Filter

FILTERS = ("dangling", "driver", "label", "label!", "name", "opt", "scope", "since", "until")
_LOCAL = ("driver", "scope")


def matching(volumes: Iterable[NamedVolume], texts: Sequence[str]) -> list[NamedVolume]:
    """Return the volumes that the filters match.

    Of several filters with one key, one has to match, but each label. Raises UsageError.
    """
    filters = parse_filters(texts, FILTERS)
    for found in (one for key in ("dangling", "since", "until") for one in filters.get(key, ())):
        # An invalid one is reported even if there is no volume.
        _matches(None, found)
    return [one for one in volumes if all(_all_match(one, key, each) for key, each in filters.items())]


def _all_match(volume: NamedVolume, key: str, filters: list[Filter]) -> bool:
    return (all if key.startswith("label") else any)(_matches(volume, one) for one in filters)


def _matches(volume: NamedVolume | None, found: Filter) -> bool:
    if found.key == "dangling":
        wanted = truth(found)
        return volume is not None and (not volume.containers) == wanted
    if found.key in {"since", "until"}:
        when = moment(found)
        return volume is not None and (volume.created < when) == (found.key == "until")
    assert volume is not None
    if found.key == "name":
        return found.value in volume.name
    if found.key == "label":
        return label_matches(volume.labels, found.value) != found.negated
    # No volume has options.
    return found.key in _LOCAL and found.value == "local"
