"""Indexes made by the user: several stored images, one for each platform, under one name.

An index is a document, and so is never changed: a new one takes over its name. Everything else in the document is kept
as it is: entries that cannot be read, attestations, images that are not in the store. Two processes that change the
index of one name do it one after the other.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from arstore.digest import Digest
from arstore.disk.claims import Claims
from arstore.errors import ConflictError, NotFoundError, PlatformError, UsageError
from arstore.oci import media_type as types
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, STORED, encode, parse
from arstore.oci.index import Index
from arstore.oci.reference import parse_name
from arstore.store.collect.lease import some_leased
from arstore.store.ingest.incoming import IncomingIndex, NoBlobs
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.oci.platform import Platform
    from arstore.store.store import Store, StoredImage


class ChangedIndex(NamedTuple):
    """An index after a change: digest, name, and entries, some of which may be invalid or not in the store."""

    digest: Digest
    name: str
    entries: tuple[Descriptor, ...]


def create_index(store: Store, name: str, texts: Sequence[str]) -> ChangedIndex:
    """Make an index of the images that *texts* mean, and name it *name*; the name moves if it is in use.

    An index in *texts* means all its images. Raises InvalidReferenceError for the name, and the errors of
    `add_to_index`.
    """
    wanted = str(parse_name(name))
    document = {"schemaVersion": 2, "mediaType": "", "manifests": []}
    with _alone(store, wanted):
        return _published(store, wanted, document, [], _images(store, texts))


def add_to_index(store: Store, text: str, texts: Sequence[str]) -> ChangedIndex:
    """Add the images that *texts* mean to the index with the name *text*; images already in it are skipped.

    Raises the errors of `Store.find`, UsageError if *text* is not an index or not a name, ConflictError for two images
    of one platform, PlatformError for an image that does not give its platform, LimitError.
    """
    index = _index(store, text)
    with _alone(store, index.called):
        index = _index(store, index.called)
        document = parse(store.read_blob(index.digest), f"index {index.digest}", STORED)
        return _published(store, index.called, document, list(index.record.manifests), _images(store, texts))


def remove_from_index(store: Store, text: str, texts: Sequence[str]) -> ChangedIndex:
    """Remove the images that *texts* mean (names, digests, starts of digests) from the index with the name *text*.

    The images stay in the store. Raises NotFoundError for an image that is not in the index, UsageError if nothing
    would be left, and the errors of `add_to_index`.
    """
    index = _index(store, text)
    with _alone(store, index.called):
        index = _index(store, index.called)
        raw = store.read_blob(index.digest)
        entries = Index.parse(raw, bounds=STORED).manifests
        gone = {_member(store, index, entries, one) for one in texts}
        document = parse(raw, f"index {index.digest}", STORED)
        document["manifests"] = [one for one in document["manifests"] if _digest(one) not in gone]
        if not document["manifests"]:
            hint = f"`arstore untag {index.called}` removes the index"
            raise UsageError(index.called, "would be an index without images", hint)
        held = [digest for digest in index.record.manifests if digest not in gone]
        return _published(store, index.called, document, held, [])


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """Lock out other processes that change the index called *name*."""
    with Claims(store.directories.claims) as claims:
        while not claims.take([Digest.of(f"index {name}".encode())]):
            pass
        yield


def _published(
    store: Store, name: str, document: dict[str, Any], held: list[str], images: Sequence[StoredImage]
) -> ChangedIndex:
    """Add *images* to *document*, publish it, and name it *name*; *held* are its entries that the store has."""
    listed = list(Index.parse(encode(document | {"mediaType": types.OCI_INDEX}), bounds=STORED).manifests)
    with some_leased(store.graph, [*held, *(image.digest for image in images)], "index"):
        known = {one.digest for one in listed}
        new = [_entry(store, one) for one in dict.fromkeys(images) if one.digest not in known]
        new = list({one.digest: one for one in new}.values())
        _refuse_rivals(store, name, listed, new)
        listed += new
        docker = all(types.is_docker(one.media_type) for one in listed)
        document["mediaType"] = types.DOCKER_LIST if docker else types.OCI_INDEX
        document["manifests"] = [*document["manifests"], *(one.to_json() for one in new)]
        raw = encode(document)
        # Refuse an index that registries and other tools would not read: this raises LimitError.
        Index.parse(raw, bounds=BOUNDS)
        members = tuple(dict.fromkeys(Digest(one) for one in (*held, *(one.digest for one in new))))
        made = IncomingIndex(Digest.of(raw), document["mediaType"], raw, members, (name,))
        store.take([], [made], NoBlobs(), ())
    return ChangedIndex(made.digest, name, tuple(listed))


def _index(store: Store, text: str) -> StoredImage:
    index = store.adopt(store.find(text))
    if not index.record.is_index:
        raise UsageError(text, "is an image, not an index", "`arstore index create NAME IMAGE...` makes an index")
    if not index.called:
        raise UsageError(text, "is a digest, and the index of a digest cannot change", "give the name of the index")
    return index


def _images(store: Store, texts: Sequence[str]) -> list[StoredImage]:
    """Return the images that *texts* mean; for an index, those of its images that the store has."""
    found = []
    for text in texts:
        image = store.adopt(store.find(text))
        if not image.record.is_index:
            found.append(image)
            continue
        members = store.members(image)
        if not members:
            raise PlatformError(text, "is an index, and none of its images is in the store")
        found += members
    return found


def _entry(store: Store, image: StoredImage) -> Descriptor:
    platform = store.config(image).platform
    if not platform.is_known:
        raise PlatformError(image.label, "does not give its platform, so an index cannot list it")
    size = len(store.read_blob(image.digest))
    return Descriptor(image.record.media_type, image.digest, size, platform=platform)


def _refuse_rivals(store: Store, name: str, old: Sequence[Descriptor], new: Sequence[Descriptor]) -> None:
    """Raise ConflictError if one of *new* has the same platform as another entry."""
    seen: dict[Platform, Digest] = {}
    for entry in (*old, *new):
        platform = entry.platform if entry.platform is not None else _own_platform(store, entry)
        if platform is None or not platform.is_known:
            continue
        first = seen.setdefault(platform.normalised(), entry.digest)
        if first != entry.digest and entry in new:
            why = f"would have two images for {platform}, {first} and {entry.digest}"
            raise ConflictError(name, why, "remove one with `arstore index rm`")


def _own_platform(store: Store, entry: Descriptor) -> Platform | None:
    """Return the platform from the config of an entry that does not give it; None if the store does not have it."""
    try:
        image = store.find(entry.digest)
    except NotFoundError:
        return None
    return None if image.record.is_index else store.config(image).platform


def _member(store: Store, index: StoredImage, entries: Sequence[Descriptor], text: str) -> str:
    """Return the digest of the entry that *text* means."""
    digests = {str(one.digest) for one in entries}
    if text in digests:
        return text
    begin = [one for one in digests if one.partition(":")[2].startswith(text) or one.startswith(text)]
    if len(begin) == 1 and len(text) >= 4:
        return begin[0]
    image = store.find(text)
    if image.digest not in digests:
        raise NotFoundError(text, f"is not in the index {index.called}", f"`arstore inspect {index.called}` lists them")
    return image.digest


def _digest(entry: object) -> object:
    return entry.get("digest") if isinstance(entry, dict) else None
