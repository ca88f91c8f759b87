"""Malformed entries of an index: skipped and reported if there is an image, an error if they may be the image."""

from __future__ import annotations

import json

import pytest
from support import images, oddities
from support.images import OCI_INDEX, OCI_MANIFEST, REF_NAME
from support.oddities import HOST, OTHER, THIRD

from arstore.cli.images.skipped import skipped_lines
from arstore.errors import (
    AmbiguousError,
    ArstoreError,
    DigestMismatchError,
    ManifestError,
    MissingBlobError,
    SizeMismatchError,
)
from arstore.oci.index import Index
from arstore.oci.platform import parse
from arstore.transport.detect import open_source
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.skipped import SkippedTop

HERE, THERE, AFAR = (oddities.picture(architecture) for architecture in (HOST, OTHER, THIRD))
SPOILT = oddities.picture(text="spoilt")
MODES = {"default": Wanted(), "platform": Wanted(parse(f"linux/{HOST}")), "all": Wanted(every=True)}


def bad(**changes):
    return oddities.entry(SPOILT, platform=None) | changes


MALFORMED = {
    "null": None,
    "number": 5,
    "text": "x",
    "list": [],
    "true": True,
    "empty": {},
    "md5": bad(digest="md5:" + "0" * 32),
    "blake3": bad(digest=oddities.BLAKE3),
    "short": bad(digest="sha256:00"),
    "upper-case": bad(digest=SPOILT.digest.upper()),
    "path": bad(digest="sha256:../../../etc/passwd"),
    "no-colon": bad(digest="latest"),
    "empty-digest": bad(digest=""),
    "digest-number": bad(digest=5),
    "digest-list": bad(digest=[SPOILT.digest]),
    "digest-nul": bad(digest=SPOILT.digest + "\0"),
    "no-digest": {key: value for key, value in bad().items() if key != "digest"},
    "no-size": {key: value for key, value in bad().items() if key != "size"},
    "size-null": bad(size=None),
    "size-negative": bad(size=-1),
    "size-text": bad(size="5"),
    "size-fraction": bad(size=1.5),
    "size-huge": bad(size=1 << 70),
    "type-number": bad(mediaType=5),
    "type-list": bad(mediaType=[OCI_MANIFEST]),
    "platform-text": bad(platform="linux/amd64"),
    "platform-list": bad(platform=[]),
    "platform-number": bad(platform={"os": 1, "architecture": HOST}),
    "urls-text": bad(urls="x"),
    "artifact-type-number": bad(artifactType=1),
    "index-of-md5": bad(mediaType=OCI_INDEX, digest="md5:00"),
    "untyped-md5": bad(mediaType=None, digest="md5:00"),
}
NAMED = [name for name, one in MALFORMED.items() if isinstance(one, dict)]
CONTENTS = {
    "text": b"no JSON",
    "empty": b"",
    "half": b'{"schemaVersion": 2, "manifests": [',
    "binary": bytes(range(256)),
    "null": b"null",
    "number": b"5",
    "list": b"[]",
    "object": b"{}",
    "blobs": b'{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}',
}
"""Contents of a blob that is not an image by any rule."""


@pytest.fixture
def select(tmp_path, spool):
    def made(files, wanted=MODES["default"], reference="{}"):
        path = images.write_archive(tmp_path / "archive", files)
        skipped = SkippedTop()
        with open_source(reference.format(path), spool) as source:
            return Selector(source, wanted, skipped=skipped).select(), skipped

    return made


def called(entry, name="b:1"):
    return {**entry, "annotations": {REF_NAME: name}}


def names(selection):
    return {one.digest: one.names for one in selection.images.values()}


def nested(*entries, parts=()):
    return images.Collection(parts, images.dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries]}))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", MALFORMED)
def test_it_is_skipped_beside_an_image(select, kind, mode, first):
    entries = [oddities.entry(HERE, "a:1"), MALFORMED[kind]]
    found, skipped = select(oddities.layout(entries[::-1] if first else entries, HERE, SPOILT), MODES[mode])
    assert names(found) == {HERE.digest: ("a:1",)}
    (entry,) = skipped.entries
    assert entry.why.startswith(f"a malformed entry (manifests[{0 if first else 1}]")
    assert entry.name == ""
    json.dumps(skipped.documents())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", NAMED)
def test_the_name_that_is_lost_is_reported(select, kind, mode):
    entries = [called(MALFORMED[kind]), oddities.entry(HERE, "a:1")]
    found, skipped = select(oddities.layout(entries, HERE, SPOILT), MODES[mode])
    assert names(found) == {HERE.digest: ("a:1",)}
    assert [entry.name for entry in skipped.entries] == ["b:1"]
    assert "b:1" in skipped_lines(skipped.entries, skipped.count)[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", MALFORMED)
def test_alone_it_is_an_error_that_names_it(select, kind, mode):
    entry = MALFORMED[kind]
    with pytest.raises(ManifestError, match=r"contains no container image: .* is a malformed entry \(manifests\[0\]"):
        select(oddities.layout([entry], SPOILT), MODES[mode])
    if isinstance(entry, dict):
        with pytest.raises(ManifestError, match=r"b:1 \(.*; so are 1 more entries"):
            select(oddities.layout([called(entry), None], SPOILT), MODES[mode])


@pytest.mark.parametrize("kind", MALFORMED)
def test_it_is_skipped_in_an_index(select, kind):
    whole = nested(MALFORMED[kind], oddities.entry(HERE), oddities.entry(THERE), parts=(HERE, THERE))
    files = oddities.layout([oddities.entry(whole, "a:1")], whole)
    found, skipped = select(files, MODES["all"])
    ((digest, index),) = found.indexes.items()
    assert (digest, index.names, index.manifests) == (whole.digest, ("a:1",), (HERE.digest, THERE.digest))
    assert [entry.why.startswith("a malformed entry (manifests[0]") for entry in skipped.entries] == [True]
    assert len(Index.parse(index.document).manifests) >= 2
    assert names(select(files)[0]) == {HERE.digest: ("a:1",)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["null", "md5", "untyped-md5"])
def test_an_index_of_nothing_else_is_skipped_with_its_name(select, kind, mode):
    whole = nested(MALFORMED[kind])
    files = oddities.layout([oddities.entry(whole, "b:1"), oddities.entry(HERE, "a:1")], whole, HERE)
    found, skipped = select(files, MODES[mode])
    assert names(found) == {HERE.digest: ("a:1",)}
    assert "b:1" in [entry.name for entry in skipped.entries]
    assert "an index with a malformed entry" in skipped.entries[-1].why
    with pytest.raises(ManifestError, match=r"b:1 \(sha256.* is an index with a malformed entry \(manifests\[0\]"):
        select(oddities.layout([oddities.entry(whole, "b:1")], whole), MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("content", CONTENTS)
def test_content_that_nothing_calls_an_image_is_none(select, content, mode):
    data = CONTENTS[content]
    thing = called({"digest": images.sha256(data), "size": len(data)})
    found, skipped = select(oddities.layout([thing, oddities.entry(HERE, "a:1")], HERE, blobs=[data]), MODES[mode])
    assert names(found) == {HERE.digest: ("a:1",)}
    assert [(entry.name, entry.why[:13]) for entry in skipped.entries] == [("b:1", "not an image,")]
    whole = nested(thing, oddities.entry(HERE), parts=(HERE,))
    found, skipped = select(oddities.layout([oddities.entry(whole, "a:1")], whole, blobs=[data]), MODES[mode])
    assert list(found.images) == [HERE.digest]
    with pytest.raises(ManifestError, match="contains no container image"):
        select(oddities.layout([thing], blobs=[data]), MODES[mode])


# --- what stays an error --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("platform", [None, {"os": "linux", "architecture": HOST}])
def test_a_name_that_may_mean_it_is_refused(select, platform, mode):
    entries = [called(bad(digest="md5:00", platform=platform), "a:1"), oddities.entry(HERE, "a:1")]
    for order in (entries, entries[::-1]):
        with pytest.raises(ManifestError, match="the name a:1 may mean this entry or another"):
            select(oddities.layout(order, HERE), MODES[mode])
    # Selected by its digest, no other entry can be meant.
    found, _ = select(oddities.layout(entries, HERE), reference=f"oci-archive:{{}}@{HERE.digest}")
    assert list(found.images) == [HERE.digest]


def test_a_name_that_means_it_for_another_platform_only(select):
    entries = [called(bad(digest="md5:00", platform={"os": "linux", "architecture": OTHER}), "a:1")]
    files = oddities.layout([*entries, oddities.entry(HERE, "a:1")], HERE)
    for mode in MODES:
        found, skipped = select(files, MODES[mode])
        assert names(found) == {HERE.digest: ("a:1",)}
        assert [entry.name for entry in skipped.entries] == ["a:1"]
    with pytest.raises(ManifestError, match=r"contains no .*: a:1 .md5:00. is a malformed entry"):
        select(files, Wanted(parse(f"linux/{OTHER}")))


def test_the_same_image_may_have_an_entry_that_is_whole(select):
    broken = {key: value for key, value in oddities.entry(HERE, "a:1").items() if key != "size"}
    for entries in ([broken, oddities.entry(HERE, "a:1")], [oddities.entry(HERE, "a:1"), broken]):
        for mode in MODES:
            found, skipped = select(oddities.layout(entries, HERE), MODES[mode])
            assert (names(found), skipped.count) == ({HERE.digest: ("a:1",)}, 1)


@pytest.mark.parametrize("mode", MODES)
def test_what_contradicts_a_digest_or_is_not_there_is_refused(select, mode):
    for change, content, error in (
        ({}, b"{}", DigestMismatchError),
        ({"size": 2}, None, SizeMismatchError),
        ({"mediaType": None}, b"no JSON", DigestMismatchError),
    ):
        files = oddities.layout([oddities.entry(HERE, "a:1"), called(bad(**change))], HERE, SPOILT, omit=[])
        if content is not None:
            files = [one for one in files if one.info.name != oddities.blob_path(SPOILT.digest)]
            content = content.ljust(len(SPOILT.manifest))
            files.append(images.file(oddities.blob_path(SPOILT.digest), content))
        with pytest.raises(error):
            select(files, MODES[mode])
    for change in ({}, {"mediaType": None}):
        with pytest.raises(MissingBlobError):
            select(oddities.layout([oddities.entry(HERE, "a:1"), called(bad(**change))], HERE), MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "data",
    [
        b'{"config":{},"config":{},"layers":[]}',
        b'{"config":{},"layers":[],"manifests":[]}',
        b'{"Manifests":[]}',
        b'{"schemaVersion":1,"fsLayers":[]}',
        b'{"mediaType":"%s"}' % OCI_MANIFEST.encode(),
    ],
)
def test_content_that_some_reader_may_take_for_an_image_is_refused(select, data, mode):
    thing = {"digest": images.sha256(data), "size": len(data)}
    with pytest.raises(ManifestError):
        select(oddities.layout([oddities.entry(HERE, "a:1"), called(thing)], HERE, blobs=[data]), MODES[mode])


@pytest.mark.parametrize("raw", [b"", b"no JSON", b"[]", b'{"manifests":5,"schemaVersion":2}', b"null"])
def test_an_index_json_that_is_none_is_refused(select, raw):
    files = [one for one in oddities.layout([], HERE) if one.info.name != "index.json"]
    with pytest.raises(ArstoreError):
        select([images.file("index.json", raw), *files])


def test_an_entry_that_readers_would_read_differently_is_refused(select):
    files = oddities.layout([oddities.entry(HERE, "a:1"), bad(Digest=THERE.digest)], HERE)
    with pytest.raises(ManifestError, match="spelt digest"):
        select(files)


def test_two_sound_images_stay_ambiguous(select):
    entries = [None, oddities.entry(HERE, "a:1"), oddities.entry(SPOILT, "a:1")]
    with pytest.raises(AmbiguousError):
        select(oddities.layout(entries, HERE, SPOILT))


def test_the_name_of_the_file_goes_to_the_image(select):
    found, _ = select(oddities.layout([None, bad(digest="md5:00"), oddities.entry(HERE)], HERE))
    assert names(found) == {HERE.digest: ("archive:latest",)}
