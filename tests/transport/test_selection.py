"""Selection from the entries of a source: platforms, indexes, names, and documents that lie."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from support import images

from arstore.digest import Digest
from arstore.errors import (
    ArstoreError,
    DigestMismatchError,
    LimitError,
    ManifestError,
    MissingBlobError,
    PlatformError,
    SizeMismatchError,
    TruncatedError,
)
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS
from arstore.oci.platform import parse
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.source import SourceImage

OTHER = "s390x"


class Blob(BytesIO):
    """An open blob in memory."""


class Source:
    """Images in memory: parts, or (part, changes to its descriptor)."""

    what = "memory"
    complete = True
    is_remote = False

    def __init__(self, *parts, blobs=()):
        self._images = []
        self.blobs = dict(blobs)
        self.opened = []
        for part in parts:
            one, changes = part if isinstance(part, tuple) else (part, {})
            self.blobs = {**one.blobs(), **self.blobs}
            self._images.append(SourceImage(descriptor({**one.descriptor(), **changes}), tuple(one.names)))

    def images(self):
        return self._images

    def open_manifest(self, descriptor):
        return self.open_blob(descriptor.digest)

    def require_blob(self, digest):
        self.open_blob(digest).close()

    def open_blob(self, digest):
        self.opened.append(str(digest))
        if digest not in self.blobs:
            raise MissingBlobError(digest, "is not there")
        return Blob(self.blobs[digest])


def descriptor(fields):
    platform = fields.get("platform")
    text = "/".join(platform[key] for key in ("os", "architecture", "variant") if platform.get(key)) if platform else ""
    return Descriptor(
        media_type=fields.get("mediaType", ""),
        digest=Digest(fields["digest"]),
        size=fields["size"],
        platform=parse(text) if text else None,
    )


def select(*parts, platform="", every=False, blobs=(), limits=DEFAULT_LIMITS):
    source = Source(*parts, blobs=blobs)
    return Selector(source, Wanted(parse(platform) if platform else None, every), limits).select()


def picture(name="a", architecture=images.HOST_ARCHITECTURE, **more):
    return images.image(images.layer([images.file(name)]), architecture=architecture, **more)


def raw_index(*descriptors, **fields):
    document = {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(descriptors), **fields}
    return images.Collection((), images.dump(document))


def holding(collection, *parts):
    """*collection* with the blobs of *parts*."""
    return images.Collection(tuple(parts), collection.raw, collection.names)


ATTESTATION = {"os": "unknown", "architecture": "unknown"}


# --- single images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_as_it_comes(docker):
    one = images.example(docker=docker, compression="gzip")
    (found,) = select(one).images.values()
    assert (found.digest, found.manifest, found.config_digest, found.config) == (
        one.digest,
        one.manifest,
        one.config_digest,
        one.config,
    )
    assert [(layer.digest, layer.size, layer.diff_id, layer.chain_id) for layer in found.layers] == [
        (layer.digest, len(layer.blob), layer.diff_id, chain_id)
        for layer, chain_id in zip(one.layers, one.chain_ids, strict=True)
    ]
    assert (found.media_type, found.names, found.top) == (one.media_type, one.names, one.chain_ids[-1])


def test_no_layer_is_opened():
    one = images.example()
    source = Source(one)
    Selector(source, Wanted()).select()
    assert source.opened == [one.digest, one.config_digest]


def test_one_image_under_two_names_is_one():
    one, again = picture(names=["a:1"]), picture(names=["b:1", "a:1"])
    (found,) = select(one, again).images.values()
    assert found.names == ("a:1", "b:1")


def test_an_image_for_another_platform_comes_unless_one_was_asked_for():
    one = picture(architecture=OTHER)
    assert list(select(one).images) == [one.digest]
    assert list(select(one, platform=f"linux/{OTHER}").images) == [one.digest]
    with pytest.raises(PlatformError, match=OTHER):
        select(one, platform="linux/ppc64le")


# --- indexes --------------------------------------------------------------------------------------------------------


def test_an_index_gives_the_hosts_image_its_names():
    here, there = picture(), picture("b", OTHER)
    found = select(images.index(there, here, names=["x:1"]))
    assert {one.digest: one.names for one in found.images.values()} == {here.digest: ("x:1",)}
    assert found.indexes == {}


def test_an_index_gives_the_image_that_was_asked_for():
    here, there = picture(), picture("b", OTHER)
    assert list(select(images.index(here, there), platform=f"linux/{OTHER}").images) == [there.digest]


def test_an_index_without_the_platform_says_what_it_has():
    with pytest.raises(PlatformError, match=f"it has linux/{OTHER}"):
        select(images.index(picture("b", OTHER)), platform="linux/ppc64le")
    with pytest.raises(ManifestError, match="lists no image"):
        select(images.index())


def test_a_member_without_a_platform_is_asked_itself():
    here, there = picture(), picture("b", OTHER)
    bare = [{k: v for k, v in one.descriptor().items() if k != "platform"} for one in (there, here)]
    found = select(holding(raw_index(*bare), here, there))
    assert list(found.images) == [here.digest]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_indexes_within_indexes(depth):
    here, there = picture(), picture("b", OTHER)
    whole = images.index(here, there)
    indexes = [whole]
    for _ in range(depth):
        indexes.append(images.index(indexes[-1]))
    assert list(select(indexes[-1]).images) == [here.digest]
    found = select(images.Collection(indexes[-1].parts, indexes[-1].raw, ("x:1",)), every=True)
    assert set(found.images) == {here.digest, there.digest}
    assert set(found.indexes) == {one.digest for one in indexes}
    assert {one.digest: one.names for one in found.indexes.values()}[indexes[-1].digest] == ("x:1",)
    for outer, inner in zip(indexes[1:], indexes, strict=False):
        assert found.indexes[outer.digest].manifests == (inner.digest,)
        assert found.indexes[outer.digest].document == outer.raw


@pytest.mark.parametrize("every", [False, True])
def test_indexes_too_deep(every):
    deep = images.index(picture())
    for _ in range(BOUNDS.index_depth):
        deep = images.index(deep)
    with pytest.raises(LimitError, match="--limit index-depth="):
        select(deep, every=every)
    assert list(select(deep, every=every, limits=Limits(index_depth=5)).images) == [picture().digest]


@pytest.mark.parametrize("every", [False, True])
def test_an_index_that_lists_itself_over_and_over_is_followed_once(every):
    """Four levels that each list the next one a thousand times."""
    inner = images.index(picture(), names=[])
    for _ in range(3):
        inner = holding(raw_index(*[inner.descriptor()] * 1000), inner)
    assert list(select(inner, every=every).images) == [picture().digest]


def test_too_many_manifests():
    few = Limits(images=5)
    one = picture()
    with pytest.raises(LimitError, match="manifests"):
        select(holding(raw_index(*[one.descriptor()] * 6), one), limits=few)
    with pytest.raises(LimitError, match="images"):
        select(*[picture(str(number)) for number in range(6)], limits=few)


@pytest.mark.parametrize("every", [False, True])
def test_attestations_are_no_images(every):
    here = picture()
    note = images.image(images.layer(b"{}", "none", "application/vnd.in-toto+json"), architecture="unknown")
    whole = holding(raw_index(here.descriptor(), {**note.descriptor(), "platform": ATTESTATION}), here, note)
    found = select(whole, every=every)
    assert list(found.images) == [here.digest]
    assert [one.manifests for one in found.indexes.values()] == ([(here.digest,)] if every else [])
    assert list(select(here, (note, {"platform": ATTESTATION})).images) == [here.digest]


@pytest.mark.parametrize("every", [False, True])
def test_an_index_of_attestations_alone(every):
    note = picture("note")
    whole = holding(raw_index({**note.descriptor(), "platform": ATTESTATION}), note)
    with pytest.raises(ManifestError, match="lists no image"):
        select(whole, every=every)


def test_one_index_under_two_names_is_one():
    whole = images.index(picture(), picture("b", OTHER))
    parts = [images.Collection(whole.parts, whole.raw, names) for names in (("a:1",), ("b:1",))]
    (found,) = select(*parts, every=True).indexes.values()
    assert found.names == ("a:1", "b:1")


# --- documents that are something else ------------------------------------------------------------------------------


def artifact(manifest):
    manifest["config"].update(mediaType="application/vnd.example.thing+json")


def empty_config(manifest):
    manifest["artifactType"] = "application/vnd.example.thing"
    manifest["config"].update(mediaType="application/vnd.oci.empty.v1+json")


def both(manifest):
    manifest["manifests"] = []


def fewer(manifest):
    manifest["layers"].pop()


def more(manifest):
    manifest["layers"].append(manifest["layers"][0])


def odd_layer(manifest):
    manifest["layers"][0]["mediaType"] = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@pytest.mark.parametrize("edit", [artifact, empty_config, both, fewer, more, odd_layer])
def test_manifests_that_are_no_image(edit):
    with pytest.raises(ManifestError):
        select(images.image(*images.example_layers(), edit_manifest=edit))


def test_a_manifest_in_an_indexs_place_and_the_reverse():
    one = picture()
    with pytest.raises(ManifestError):
        select((one, {"mediaType": images.OCI_INDEX}))
    with pytest.raises(ManifestError):
        select((images.index(one), {"mediaType": images.OCI_MANIFEST}))


@pytest.mark.parametrize("media_type", ["", "application/json"])
def test_documents_without_a_useful_type(media_type):
    one = picture()
    for part in (one, images.index(one)):
        try:
            found = select((part, {"mediaType": media_type}))
        except ManifestError:
            assert media_type
        else:
            assert list(found.images) == [one.digest]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xff", b"[" * 100_000, b'{"schemaVersion":1}'])
@pytest.mark.parametrize("which", ["manifest", "config", "index"])
def test_documents_that_are_none(raw, which):
    digest = images.sha256(raw)
    if which == "config":
        part = picture(edit_manifest=lambda manifest: manifest["config"].update(digest=digest, size=len(raw)))
        parts = [part]
    elif which == "manifest":
        parts = [(images.Collection((), raw), {"mediaType": images.OCI_MANIFEST})]
    else:
        parts = [images.Collection((), raw)]
    with pytest.raises((ManifestError, LimitError)):
        select(*parts, blobs={digest: raw})


@pytest.mark.parametrize(
    ("size", "error"), [(-1, TruncatedError), (1, SizeMismatchError)], ids=["too short", "too long"]
)
@pytest.mark.parametrize("which", ["manifest", "config"])
def test_sizes_that_lie(size, error, which):
    one = picture()
    if which == "manifest":
        part = (one, {"size": len(one.manifest) - size})
    else:
        part = picture(edit_manifest=lambda manifest: manifest["config"].update(size=len(one.config) - size))
    with pytest.raises(error):
        select(part)


def test_a_second_mention_with_another_size():
    one = picture()
    with pytest.raises((SizeMismatchError, TruncatedError)):
        select(one, (one, {"size": len(one.manifest) + 1}))


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_altered_documents(which):
    one = picture()
    digest, raw = (one.digest, one.manifest) if which == "manifest" else (one.config_digest, one.config)
    with pytest.raises(DigestMismatchError):
        select(one, blobs={digest: raw.replace(b"linux", b"Linux").replace(b"sha256", b"sha512", 1)})


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_missing_documents(which):
    one = picture()
    source = Source(one)
    del source.blobs[one.digest if which == "manifest" else one.config_digest]
    with pytest.raises(MissingBlobError):
        Selector(source, Wanted()).select()


def test_documents_beyond_the_limit_are_not_even_read():
    one = picture()
    source = Source((one, {"size": BOUNDS.document + 1}))
    with pytest.raises(LimitError):
        Selector(source, Wanted()).select()
    assert source.opened == []


def test_endless_documents_are_read_to_the_limit_only():
    class Endless(Blob):
        given = 0

        def read(self, size=-1, /):
            Endless.given += size
            return b" " * size

    one = picture()
    source = Source(one)
    source.open_blob = lambda _digest: Endless()
    with pytest.raises(ArstoreError):
        Selector(source, Wanted()).select()
    assert Endless.given <= BOUNDS.document + 1


def test_all_documents_together_have_a_limit():
    with pytest.raises(LimitError, match="manifests and configs"):
        select(*[picture(str(number)) for number in range(50)], limits=Limits(documents=5000))


def test_a_source_without_images():
    with pytest.raises(ManifestError, match="no container image"):
        select()


def test_blobs_are_closed_whatever_happens():
    closed = []

    class Closing(Blob):
        def close(self):
            closed.append(self.getvalue()[:1] if not self.closed else b"")
            super().close()

    one = picture()
    source = Source(one)
    source.open_blob = lambda digest: Closing(source.blobs[digest] + b" ")
    with pytest.raises(SizeMismatchError):
        Selector(source, Wanted()).select()
    assert closed[0] == b"{"


def test_duplicate_members_of_a_document():
    one = picture()
    raw = one.manifest.replace(b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":2')
    assert json.loads(raw)
    part = images.Picture(one.layers, one.config, raw)
    with pytest.raises(ManifestError):
        select(part)
