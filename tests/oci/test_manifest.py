"""Manifests as real tools write them, and invalid ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ArstoreError, LimitError, ManifestError
from arstore.oci import media_type as types
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, STORED
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest

CONFIG_DIGEST = "sha256:" + "c0" * 32
LAYER_DIGEST = "sha256:" + "1a" * 32
CONFIG = {"mediaType": types.OCI_CONFIG, "digest": CONFIG_DIGEST, "size": 582}
LAYER = {"mediaType": types.OCI_LAYER_GZIP, "digest": LAYER_DIGEST, "size": 126}
PLAIN = {"schemaVersion": 2, "mediaType": types.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}


def raw(document):
    return json.dumps(document).encode()


REAL = {
    "umoci 0.4, without a media type": (
        '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"CONFIG",'
        '"size":582},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"LAYER","size":126}]}',
        types.OCI_MANIFEST, 1, True,
    ),
    "buildah 1.43": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        '"application/vnd.oci.image.config.v1+json","digest":"CONFIG","size":375},"layers":[{"mediaType":'
        '"application/vnd.oci.image.layer.v1.tar+zstd","digest":"LAYER","size":63325357}],"annotations":'
        '{"org.opencontainers.image.base.digest":"","org.opencontainers.image.base.name":"",'
        '"org.opencontainers.image.created":"2026-01-23T16:50:37.113252013Z"}}',
        types.OCI_MANIFEST, 1, True,
    ),
    "skopeo copy --format v2s2": (
        '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":'
        '"application/vnd.docker.container.image.v1+json","size":582,"digest":"CONFIG"},"layers":[{"mediaType":'
        '"application/vnd.docker.image.rootfs.diff.tar.gzip","size":126,"digest":"LAYER"}]}',
        types.DOCKER_MANIFEST, 1, True,
    ),
    "docker 25 save, uncompressed layers": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        '"application/vnd.oci.image.config.v1+json","digest":"CONFIG","size":1472},"layers":[{"mediaType":'
        '"application/vnd.oci.image.layer.v1.tar","digest":"LAYER","size":7667200},{"mediaType":'
        '"application/vnd.oci.image.layer.v1.tar","digest":"LAYER","size":1536}]}',
        types.OCI_MANIFEST, 2, True,
    ),
    "podman, FROM scratch without a layer": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        '"application/vnd.oci.image.config.v1+json","digest":"CONFIG","size":262},"layers":[],"annotations":{}}',
        types.OCI_MANIFEST, 0, True,
    ),
    "no layers, as Go marshals nil": (
        '{"schemaVersion":2,"mediaType":"","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":'
        '"CONFIG","size":1},"layers":null,"annotations":null}',
        types.OCI_MANIFEST, 0, True,
    ),
    "buildkit attestation": (
        '{\n  "schemaVersion": 2,\n  "mediaType": "application/vnd.oci.image.manifest.v1+json",\n  "config": {\n'
        '    "mediaType": "application/vnd.oci.image.config.v1+json",\n    "digest": "CONFIG",\n    "size": 241\n  },\n'
        '  "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": "LAYER", "size": 1131,'
        ' "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}}]\n}',
        types.OCI_MANIFEST, 1, False,
    ),
    "artifact with a subject": (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x.sbom",'
        '"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"CONFIG","size":2,"data":"e30="},"layers":'
        '[{"mediaType":"text/spdx","digest":"LAYER","size":2}],"subject":{"mediaType":'
        '"application/vnd.oci.image.manifest.v1+json","digest":"LAYER","size":345}}',
        types.OCI_MANIFEST, 1, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_manifests(name):
    text, media_type, layers, is_image = REAL[name]
    data = text.replace("CONFIG", CONFIG_DIGEST).replace("LAYER", LAYER_DIGEST).encode()
    manifest = Manifest.parse(data)
    assert manifest.raw is data
    assert manifest.digest == Digest.of(data)
    assert manifest.media_type == media_type
    assert manifest.config.digest == CONFIG_DIGEST
    assert [layer.digest for layer in manifest.layers] == [LAYER_DIGEST] * layers
    assert manifest.is_image == is_image
    assert (manifest.descriptor.media_type, manifest.descriptor.size) == (media_type, len(data))
    assert manifest.descriptor.digest == manifest.digest


def test_subject_and_artifact_type():
    manifest = Manifest.parse(raw(PLAIN | {"artifactType": "application/x", "subject": LAYER}))
    assert manifest.artifact_type == "application/x"
    assert manifest.has_subject


def test_media_type_from_the_descriptor():
    bare = {key: value for key, value in PLAIN.items() if key != "mediaType"}
    assert Manifest.parse(raw(bare), "x", types.DOCKER_MANIFEST).media_type == types.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"schemaVersion": 2, "layers": []}, "config: is missing"),
        (PLAIN | {"config": None}, "config: is missing"),
        (PLAIN | {"config": []}, "config: is a list"),
        (PLAIN | {"layers": {}}, "layers: is an object, not a list"),
        (PLAIN | {"layers": [LAYER, None]}, "layers[1]: is null"),
        (PLAIN | {"layers": [LAYER] * 3 + [LAYER | {"digest": "sha256:xx"}]}, "layers[3].digest: not a sha256"),
        (PLAIN | {"layers": [LAYER | {"size": -5}]}, "layers[0].size: is negative"),
        (PLAIN | {"Annotations": {}}, "Annotations: this field is spelt annotations"),
        (PLAIN | {"manifests": []}, "has the fields of both a manifest and an index"),
        ({"schemaVersion": 2, "manifests": []}, "is an index, not a manifest"),
        ({"schemaVersion": 1, "fsLayers": []}, "is a manifest of Docker's schema 1"),
        ([], "is a list, not a JSON object"),
    ],
)
def test_bad_manifests_are_refused_in_one_line(document, why):
    with pytest.raises(ManifestError) as caught:
        Manifest.parse(raw(document), "doc")
    assert caught.value.what == "doc"
    assert caught.value.why.startswith(why)


def test_without_a_name_the_digest_names_the_document():
    data = b'{"config":0,"layers":[]}'
    with pytest.raises(ManifestError, match=f"^manifest {Digest.of(data)}: config"):
        Manifest.parse(data)


def test_layer_limit_is_exact():
    most = BOUNDS.layers
    assert len(Manifest.parse(raw(PLAIN | {"layers": [LAYER] * most})).layers) == most
    more = raw(PLAIN | {"layers": [LAYER] * (most + 1)})
    with pytest.raises(LimitError, match="has 10001 layers"):
        Manifest.parse(more)
    assert len(Manifest.parse(more, bounds=STORED).layers) == most + 1


def test_build_is_deterministic_and_reads_back():
    config = Descriptor.parse(CONFIG, "x")
    layers = [Descriptor.parse(LAYER | {"annotations": {"k": "v"}}, "x")] * 2
    data = Manifest.build(config, layers, {"b": "2", "a": "名"})
    assert data == Manifest.build(config, iter(layers), {"a": "名", "b": "2"})
    manifest = Manifest.parse(data)
    assert manifest.media_type == types.OCI_MANIFEST
    assert (manifest.config, list(manifest.layers)) == (config, layers)
    assert manifest.annotations == {"a": "名", "b": "2"}


def test_build_without_annotations_leaves_them_out():
    assert "annotations" not in json.loads(Manifest.build(Descriptor.parse(CONFIG, "x"), ()))


def test_docker_manifests_are_built_without_annotations():
    layer = Descriptor.parse(LAYER | {"mediaType": types.DOCKER_LAYER_GZIP, "annotations": {"k": "v"}}, "x")
    config = Descriptor.parse(CONFIG | {"mediaType": types.DOCKER_CONFIG}, "x")
    data = Manifest.build(config, [layer], {"a": "b"}, types.DOCKER_MANIFEST)
    assert b"annotations" not in data
    assert Manifest.parse(data, "x", types.DOCKER_MANIFEST).media_type == types.DOCKER_MANIFEST


MEMBERS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "annotations",
        "subject",
        "artifactType",
        "digest",
        "size",
        "platform",
        "urls",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.just(LAYER) | st.just(CONFIG_DIGEST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(MEMBERS, ANYTHING, max_size=8), st.none() | st.sampled_from(sorted(types.MANIFESTS)))
def test_any_document_is_read_or_refused_by_both_readers(document, announced):
    taken = []
    for reader in (Manifest.parse, Index.parse):
        try:
            taken.append(reader(raw(document), "x", announced))
        except ArstoreError:
            continue
    assert len(taken) <= 1


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(data):
    with pytest.raises((ManifestError, LimitError)):
        Manifest.parse(data)


@given(st.data())
def test_a_damaged_manifest_is_read_or_refused(data):
    whole = bytearray(raw(PLAIN))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        manifest = Manifest.parse(bytes(whole))
    except ArstoreError:
        return
    assert manifest.digest == Digest.of(whole)


@given(st.integers(0, len(raw(PLAIN)) - 1))
def test_a_truncated_manifest_is_refused(length):
    with pytest.raises(ManifestError):
        Manifest.parse(raw(PLAIN)[:length])
