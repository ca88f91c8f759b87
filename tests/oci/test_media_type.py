"""The kind of document that a JSON object is; no document may be of two kinds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ManifestError
from arstore.oci import media_type as types

MANIFEST = {"schemaVersion": 2, "config": {}, "layers": []}
TYPES = sorted(types.MANIFESTS | types.INDEXES)
INDEX = {"schemaVersion": 2, "manifests": []}


@pytest.mark.parametrize(
    ("document", "announced", "expected"),
    [
        (MANIFEST, None, types.OCI_MANIFEST),
        (MANIFEST, types.DOCKER_MANIFEST, types.DOCKER_MANIFEST),
        (MANIFEST | {"mediaType": types.DOCKER_MANIFEST}, None, types.DOCKER_MANIFEST),
        (MANIFEST | {"mediaType": types.OCI_MANIFEST}, types.DOCKER_MANIFEST, types.OCI_MANIFEST),
        (MANIFEST | {"mediaType": ""}, "", types.OCI_MANIFEST),
        (MANIFEST | {"mediaType": None}, None, types.OCI_MANIFEST),
        ({"config": {}}, None, types.OCI_MANIFEST),
        (INDEX, None, types.OCI_INDEX),
        (INDEX, types.DOCKER_LIST, types.DOCKER_LIST),
        (INDEX | {"mediaType": types.DOCKER_LIST}, types.OCI_INDEX, types.DOCKER_LIST),
        ({"manifests": None}, None, types.OCI_INDEX),
    ],
)
def test_type_comes_from_the_document_then_the_descriptor_then_the_shape(document, announced, expected):
    assert types.document_type(document, announced) == expected


@pytest.mark.parametrize("member", ["config", "layers"])
@pytest.mark.parametrize("value", [None, [], {}])
@pytest.mark.parametrize("announced", [None, types.OCI_MANIFEST, types.OCI_INDEX])
def test_manifest_and_index_in_one_document_is_refused(member, value, announced):
    with pytest.raises(ManifestError, match="of both a manifest and an index"):
        types.document_type(INDEX | {member: value}, announced)


@pytest.mark.parametrize("key", ["Manifests", "MANIFESTS", "manifestS", "manifeſts"])
def test_second_kind_in_another_letter_case_is_refused(key):
    with pytest.raises(ManifestError, match="spelt manifests"):
        types.document_type(MANIFEST | {key: []})


@pytest.mark.parametrize(
    ("document", "announced"),
    [
        (MANIFEST | {"mediaType": types.OCI_INDEX}, None),
        (MANIFEST, types.OCI_INDEX),
        (MANIFEST | {"mediaType": types.OCI_MANIFEST}, types.DOCKER_LIST),
        (INDEX | {"mediaType": types.DOCKER_MANIFEST}, None),
        (INDEX, types.OCI_MANIFEST),
    ],
)
def test_claims_must_agree_with_the_fields(document, announced):
    with pytest.raises(ManifestError, match="has the fields of"):
        types.document_type(document, announced, "doc")


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []},
        {"schemaVersion": 1, "config": {}, "layers": []},
        {"schemaVersion": 2, "config": {}, "layers": [], "fsLayers": []},
        {"mediaType": types.DOCKER_SCHEMA1_SIGNED},
        {"mediaType": types.DOCKER_SCHEMA1, "config": {}},
    ],
)
def test_docker_schema_1_is_refused_by_name(document):
    with pytest.raises(ManifestError, match="schema 1"):
        types.document_type(document)


def test_announced_schema_1_is_refused_by_name():
    with pytest.raises(ManifestError, match="schema 1"):
        types.document_type(MANIFEST, types.DOCKER_SCHEMA1_SIGNED)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "neither an image manifest nor an index"),
        ({"architecture": "amd64", "rootfs": {}}, "neither an image manifest nor an index"),
        ({"schemaVersion": 3, "config": {}}, "schemaVersion: is 3"),
        ({"schemaVersion": "2", "config": {}}, "schemaVersion: is a string"),
        ({"schemaVersion": True, "config": {}}, "schema"),
        ({"mediaType": 7, "config": {}}, "mediaType: is a number"),
        (
            MANIFEST | {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"},
            "neither a manifest's nor an index's",
        ),
        (MANIFEST | {"mediaType": "text/x\n\x1b"}, r"text/x\\n\\x1b"),
    ],
)
def test_other_documents_are_refused(document, why):
    with pytest.raises(ManifestError, match=why):
        types.document_type(document, what="doc")


@given(
    st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "Config"]),
        st.none() | st.integers(0, 3) | st.sampled_from(TYPES) | st.just([]) | st.text(),
    ),
    st.none() | st.sampled_from(TYPES) | st.text(),
)
def test_an_accepted_document_has_one_kind_only(document, announced):
    try:
        found = types.document_type(document, announced)
    except ManifestError:
        return
    assert ("manifests" in document) == types.is_index(found)
    assert ("config" in document or "layers" in document) == (found in types.MANIFESTS)


def test_sets_do_not_overlap():
    groups = [types.MANIFESTS, types.INDEXES, types.CONFIGS, frozenset(types.LAYER_COMPRESSIONS)]
    for one, other in itertools.combinations(groups, 2):
        assert not one & other


@pytest.mark.parametrize("table", [types.OCI_LAYERS, types.DOCKER_LAYERS])
def test_a_layer_type_claims_the_compression_it_was_chosen_for(table):
    assert {types.LAYER_COMPRESSIONS[media_type]: media_type for media_type in table.values()} == table


def test_layers():
    assert types.is_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    assert types.is_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")
    assert types.is_layer(types.OCI_LAYER_ZSTD)
    assert types.is_layer(types.OCI_LAYER + "+xz")
    assert not types.is_layer(types.OCI_LAYER + "ball")
    assert not types.is_layer("application/vnd.in-toto+json")
    assert types.is_docker(types.DOCKER_LIST)
    assert not types.is_docker(types.OCI_INDEX)
