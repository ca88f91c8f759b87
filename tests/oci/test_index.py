"""Indexes as real tools write them, and the marker of a layout."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ArstoreError, LimitError, ManifestError
from arstore.oci import media_type as types
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor
from arstore.oci.document import BOUNDS, STORED
from arstore.oci.index import Index
from arstore.oci.platform import Platform, select

D = "sha256:" + "3f" * 32
ENTRY = {"mediaType": types.OCI_MANIFEST, "digest": D, "size": 345}

REAL = {
    "umoci": (
        '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"D",'
        '"size":345,"annotations":{"org.opencontainers.image.ref.name":"1.0"}}]}',
        types.OCI_INDEX, [{REF_NAME: "1.0"}],
    ),
    "umoci init, older": ('{"schemaVersion":2,"manifests":null}', types.OCI_INDEX, []),
    "skopeo and podman": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":'
        '"application/vnd.oci.image.manifest.v1+json","digest":"D","size":345,"annotations":'
        '{"org.opencontainers.image.ref.name":"localhost/x:1"}}]}',
        types.OCI_INDEX, [{REF_NAME: "localhost/x:1"}],
    ),
    "ctr image export": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":'
        '"application/vnd.docker.distribution.manifest.list.v2+json","digest":"D","size":1638,"annotations":'
        '{"io.containerd.image.name":"docker.io/library/busybox:1.36","org.opencontainers.image.ref.name":"1.36"}}]}',
        types.OCI_INDEX, [{CONTAINERD_NAME: "docker.io/library/busybox:1.36", REF_NAME: "1.36"}],
    ),
    "docker 25 save": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":'
        '"application/vnd.oci.image.manifest.v1+json","digest":"D","size":401,"annotations":{"io.containerd.image.name":'
        '"docker.io/library/app:latest","org.opencontainers.image.ref.name":"latest"}},{"mediaType":'
        '"application/vnd.oci.image.manifest.v1+json","digest":"D","size":401,"annotations":{"io.containerd.image.name":'
        '"docker.io/library/app:2","org.opencontainers.image.ref.name":"2"}}]}',
        types.OCI_INDEX,
        [
            {CONTAINERD_NAME: "docker.io/library/app:latest", REF_NAME: "latest"},
            {CONTAINERD_NAME: "docker.io/library/app:2", REF_NAME: "2"},
        ],
    ),
    "docker manifest list": (
        '{\n   "schemaVersion": 2,\n   "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",\n'
        '   "manifests": [{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 528,'
        ' "digest": "D", "platform": {"architecture": "amd64", "os": "linux", "features": ["sse4"]}}]\n}',
        types.DOCKER_LIST, [{}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_indexes(name):
    text, media_type, annotations = REAL[name]
    data = text.replace('"D"', f'"{D}"').encode()
    index = Index.parse(data)
    assert index.raw is data
    assert index.digest == Digest.of(data)
    assert index.media_type == media_type
    assert [entry.annotations for entry in index.manifests] == annotations
    assert all(entry.digest == D for entry in index.manifests)


def test_buildkit_index_with_attestations_offers_only_the_image():
    entries = [
        ENTRY | {"platform": {"architecture": "amd64", "os": "linux"}},
        ENTRY
        | {
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": D},
        },
    ]
    index = Index.parse(json.dumps({"schemaVersion": 2, "mediaType": types.OCI_INDEX, "manifests": entries}).encode())
    platforms = [entry.platform for entry in index.manifests]
    assert platforms == [Platform("linux", "amd64"), Platform("unknown", "unknown")]
    assert select(platforms, Platform("linux", "amd64")) == [0]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"schemaVersion": 2}, "is neither an image manifest nor an index"),
        ({"schemaVersion": 2, "config": {}, "layers": []}, "is a manifest, not an index"),
        ({"schemaVersion": 2, "manifests": {}}, "manifests: is an object"),
        ({"schemaVersion": 2, "manifests": [ENTRY | {"Size": 1}]}, "manifests[0].Size: this field is spelt size"),
        ({"schemaVersion": 2, "manifests": [], "layers": []}, "has the fields of both a manifest and an index"),
    ],
)
def test_bad_indexes_are_refused_in_one_line(document, why):
    with pytest.raises(ManifestError) as caught:
        Index.parse(json.dumps(document).encode(), "index.json")
    assert caught.value.what == "index.json"
    assert caught.value.why.startswith(why)


@pytest.mark.parametrize("entry", [None, 5, "x", [], True, {}])
def test_an_entry_that_is_no_descriptor_is_flawed(entry):
    index = Index.parse(json.dumps({"schemaVersion": 2, "manifests": [ENTRY, entry]}).encode(), "index.json")
    assert len(index.manifests) == 1
    assert str(index.entries[1].error).startswith("index.json: manifests[1]")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": None}, "manifests[1].size: is missing"),
        ({"platform": {"os": []}}, "manifests[1].platform.os: is a list"),
    ],
)
def test_an_entry_that_cannot_be_followed_does_not_spoil_the_others(change, why):
    document = {"schemaVersion": 2, "manifests": [ENTRY, ENTRY | change]}
    index = Index.parse(json.dumps(document).encode(), "index.json")
    assert [entry.digest for entry in index.manifests] == [D]
    assert index.entries[1].error.why.startswith(why)


def test_announced_as_a_manifest():
    with pytest.raises(ManifestError, match="its descriptor says"):
        Index.parse(b'{"manifests":[]}', "x", types.OCI_MANIFEST)


def test_entry_limit_is_exact():
    most = BOUNDS.manifests
    bounds = BOUNDS.of_listing()
    document = {"manifests": [ENTRY] * most}
    assert len(Index.parse(json.dumps(document).encode(), bounds=bounds).manifests) == most
    document["manifests"].append(ENTRY)
    with pytest.raises(LimitError, match=f"lists {most + 1} manifests"):
        Index.parse(json.dumps(document).encode(), bounds=bounds)
    assert len(Index.parse(json.dumps(document).encode(), bounds=STORED).manifests) == most + 1


ENTRIES = st.tuples(st.binary(max_size=3).map(Digest.of), st.integers(0, 2**63 - 1), st.text("ab/:1"))


@given(st.lists(ENTRIES, max_size=4))
def test_built_indexes_read_back_in_order(entries):
    descriptors = [Descriptor(types.OCI_MANIFEST, digest, size, {REF_NAME: name}) for digest, size, name in entries]
    index = Index.parse(Index.build(descriptors))
    assert list(index.manifests) == descriptors
    assert Index.build(index.manifests) == index.raw
    assert index.descriptor == Descriptor(types.OCI_INDEX, index.digest, len(index.raw))


def test_build_of_each_type():
    entry = Descriptor.parse(ENTRY, "x")
    assert Index.parse(Index.build([entry], {"a": "b"})).annotations == {"a": "b"}
    docker = Index.parse(Index.build([entry], {"a": "b"}, types.DOCKER_LIST))
    assert (docker.media_type, docker.annotations) == (types.DOCKER_LIST, {})


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(data):
    with pytest.raises(ArstoreError):
        Index.parse(data)
