"""`images` with options: the images as items with podman's fields, and podman's filters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore.cli.terminal.filters import Filter, label_matches, moment, parse_filters, truth
from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.cli.terminal.listing import Item
from arstore.cli.terminal.output import human_size, short_digest
from arstore.cli.terminal.spans import ago, go_time, rfc_time
from arstore.errors import AmbiguousError, ArstoreError, InvalidReferenceError, NotFoundError, UsageError
from arstore.oci.name_pattern import NamePatterns, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from arstore.store.store import Store, StoredImage

HEADINGS = {
    "ID": "IMAGE ID",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "Created": "CREATED",
    "ReadOnly": "R/O",
    "VirtualSize": "SIZE",
}
_NONE = "<none>"


def moment_of(text: str) -> float:
    """Return a time in an image's document, in seconds since the epoch; 0 if it is not one."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


class ListedImage:
    """An image with what filters and formats need of it."""

    def __init__(self, store: Store, image: StoredImage, hidden: Sequence[str] = ()) -> None:
        self._store = store
        self.image = image
        self.hidden = hidden
        """Names that an image listed before has, too."""
        self.created = moment_of(image.record.created)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels in its config; none for an index, and for a damaged config."""
        if self.image.record.is_index:
            return {}
        try:
            return self._store.config(self.image).labels
        except (ArstoreError, OSError):
            return {}


def listed(store: Store) -> list[ListedImage]:
    """Return all images, those of additional stores last."""
    found = [ListedImage(store, image) for image in store.images()]
    if store.elsewhere is not None:
        found += [ListedImage(store, one.image, one.hidden) for one in store.elsewhere.images()]
    return found


def named_like(found: Iterable[ListedImage], pattern: str) -> list[ListedImage]:
    """Return the images with a name that matches *pattern*: a name, a part of one after a slash, with `*` and `?`."""
    patterns = NamePatterns([pattern])
    return [one for one in found if any(map(patterns.match, one.image.names))]


def match(store: Store, found: list[ListedImage], texts: Sequence[str], known: Sequence[str]) -> list[ListedImage]:
    """Return the images that match the filters, whose keys are *known*. Raises UsageError."""
    tests = [_test(store, key, filters) for key, filters in parse_filters(texts, known).items()]
    return [one for one in found if all(test(one) for test in tests)]


def _test(store: Store, key: str, filters: list[Filter]) -> Callable[[ListedImage], bool]:
    values = [one.value for one in filters]
    if key == "reference":
        wanted = NamePatterns(values)
        return lambda one: any(map(wanted.match, one.image.names))
    if key == "reference!":
        wanted = NamePatterns(values)
        return lambda one: not any(map(wanted.match, one.image.names))
    if key == "label":
        return lambda one: all(label_matches(one.labels, value) for value in values)
    if key == "label!":
        return lambda one: not any(label_matches(one.labels, value) for value in values)
    if key in {"id", "digest"}:
        return lambda one: any(one.image.digest.startswith((value, f"sha256:{value}")) for value in values if value)
    if key in {"before", "since", "after"}:
        times = [_created(store, one) for one in filters]
        if key == "before":
            return lambda one: any(one.created < when for when in times)
        return lambda one: any(one.created > when for when in times)
    if key == "until":
        until = max(moment(one) for one in filters)
        return lambda one: one.created < until
    return _test_of_truth(store, key, filters)


def _test_of_truth(store: Store, key: str, filters: list[Filter]) -> Callable[[ListedImage], bool]:
    wanted = {truth(one) for one in filters}
    if key == "dangling":
        return lambda one: (not one.image.names) in wanted
    if key == "readonly":
        return lambda one: (one.image.home is not None) in wanted
    if key == "manifest":
        return lambda one: one.image.record.is_index in wanted
    if key == "containers":
        used = {container.record.image for container in store.containers.list()}
        return lambda one: (one.image.digest in used) in wanted
    # The steps of a build are not images here.
    return lambda _: False in wanted


def _created(store: Store, found: Filter) -> float:
    try:
        return moment_of(store.find(found.value).record.created)
    except (NotFoundError, AmbiguousError, InvalidReferenceError) as error:
        raise UsageError(found.text, error.why) from error


def items_of(store: Store, found: Sequence[ListedImage], *, whole: bool, documents: Mapping[str, Any]) -> list[Item]:
    """Return an item for each name of each image; *whole* does not shorten digests.

    *documents* are the documents for JSON paths, by digest.
    """
    used: dict[str, int] = {}
    for container in store.containers.list():
        used[container.record.image] = used.get(container.record.image, 0) + 1
    items = []
    for one in found:
        digest = one.image.digest
        plain = _entry(one, used.get(digest, 0))
        for name in one.image.names or ("",):
            fields = _fields(one, name, used.get(digest, 0), whole=whole)
            keys = {
                "created": -one.created,
                "id": digest,
                "repository": fields["Repository"],
                "size": one.image.record.size,
                "tag": fields["Tag"],
            }
            shown = digest if whole else short_digest(digest)
            items.append(Item(shown, (), documents.get(digest, {}), fields, keys, plain))
    return items


def _fields(one: ListedImage, name: str, containers: int, *, whole: bool) -> Fields:
    image, now = one.image, time.time()
    repository, tag = split(name) if name else (_NONE, _NONE)
    return Fields(
        ID=image.digest if whole else short_digest(image.digest),
        Repository=repository,
        Tag=tag or _NONE,
        Digest=str(image.digest),
        Created=Twofold(go_time(one.created), int(one.created)),
        CreatedAt=go_time(one.created),
        CreatedSince=ago(one.created, now),
        CreatedTime=rfc_time(one.created),
        Size=Twofold(human_size(image.record.size), image.record.size),
        VirtualSize=Twofold(human_size(image.record.size), image.record.size),
        SharedSize=0,
        Labels=dict(one.labels),
        Names=list(image.names),
        RepoTags=list(image.names),
        RepoDigests=_repo_digests(image),
        History=list(image.names),
        ParentId="",
        Containers=containers,
        ReadOnly=image.home is not None,
        Dangling=not image.names,
        IsManifestList=image.record.is_index,
        Platform=image.record.platform,
    )


def _repo_digests(image: StoredImage) -> list[str]:
    return list(dict.fromkeys(f"{split(name)[0]}@{image.digest}" for name in image.names))


def _entry(one: ListedImage, containers: int) -> dict[str, Any]:
    """Return the entry of `images --format json`."""
    image = one.image
    return {
        "Id": image.digest.partition(":")[2],
        "ParentId": "",
        "RepoTags": list(image.names) or None,
        "RepoDigests": _repo_digests(image),
        "Size": image.record.size,
        "SharedSize": 0,
        "VirtualSize": image.record.size,
        "Labels": dict(one.labels) or None,
        "Containers": containers,
        "ReadOnly": image.home is not None,
        "Dangling": not image.names,
        "Digest": str(image.digest),
        "History": list(image.names),
        "Names": list(image.names),
        "Created": int(one.created),
        "CreatedAt": rfc_time(one.created),
    }
