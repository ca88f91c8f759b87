"""Tags of attachments, merged manifests, and signatures as files and as manifests."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import attachments, images

from arstore.digest import Digest
from arstore.errors import ArstoreError, ManifestError
from arstore.oci import simple_signing
from arstore.oci.attachment import EMPTY, EMPTY_DIGEST, MOST, SUFFIXES, is_among, parse_tag, tag_of, type_of, united
from arstore.oci.descriptor import Descriptor
from arstore.oci.manifest import Manifest

SUBJECT = Descriptor(attachments.MANIFEST, Digest.of(b"an image"), 8)
HEX = SUBJECT.digest.hex


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_tags_tell_the_subject(suffix, algorithm):
    digest = Digest.of(b"x", algorithm)
    assert parse_tag(tag_of(digest, suffix)) == (digest, suffix)
    assert parse_tag(f"localhost:5000/app:{tag_of(digest, suffix)}") == (digest, suffix)


def test_a_tag_of_a_list_has_no_suffix():
    assert parse_tag(f"sha256-{HEX}") == (SUBJECT.digest, "")
    # Tags have at most 64 digits, half of a sha512.
    assert parse_tag(f"sha512-{'a' * 64}") == (None, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        f"sha256-{HEX[1:]}",
        f"sha256-{HEX}.txt",
        f"sha256:{HEX}",
        f"sha256-{HEX.upper()}.sig",
        f"md5-{HEX}",
    ],
)
def test_other_tags_are_none(text):
    assert parse_tag(text) is None


def test_the_empty_content():
    assert Digest.of(EMPTY) == EMPTY_DIGEST


def test_a_union_has_each_layer_once():
    manifests = [
        Manifest.parse(attachments.signature(SUBJECT.digest, *words).raw) for words in (("a", "b"), ("b", "c"))
    ]
    made = united(layer for one in manifests for layer in one.layers)
    found = Manifest.parse(made.manifest)
    assert len(found.layers) == 3
    assert all(is_among(layer, found.layers) for one in manifests for layer in one.layers)
    assert Digest.of(made.config) == found.config.digest
    assert json.loads(made.config)["rootfs"]["diff_ids"] == [layer.digest for layer in found.layers]
    assert united(found.layers) == made


def test_types_that_lists_show():
    assert type_of(Manifest.parse(attachments.sbom(SUBJECT.to_json()).raw)) == attachments.SBOM
    assert type_of(Manifest.parse(attachments.signature(SUBJECT.digest, "a").raw)) == attachments.SIGNING
    assert type_of(Manifest.parse(images.image().manifest)) == "application/vnd.oci.image.config.v1+json"


# --- signatures -------------------------------------------------------------------------------------------------------

MESSAGES = st.binary(min_size=1, max_size=60).filter(lambda data: not data.startswith(b"\0"))
SIGSTORE = st.builds(
    lambda payload, notes: simple_signing._file(
        Descriptor(attachments.SIGNING, Digest.of(payload), len(payload), notes), payload
    ),
    st.binary(min_size=1, max_size=60),
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=9),
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=9),
        max_size=3,
    ),
)


@given(st.lists(st.one_of(MESSAGES, SIGSTORE), max_size=6, unique=True))
def test_files_become_manifests_and_files_again(files):
    made = simple_signing.wrapped(files, SUBJECT)
    assert simple_signing.wrapped(files, SUBJECT) == made
    back = []
    for one in made:
        manifest = Manifest.parse(one.manifest)
        assert {blob.digest for blob in (manifest.config, *manifest.layers)} == one.blobs.keys()
        assert all(Digest.of(data) == digest for digest, data in one.blobs.items())
        assert (manifest.subject == SUBJECT.digest) == (one.suffix == "")
        assert simple_signing.is_simple_signature(manifest)
        back += simple_signing.unwrapped(manifest, lambda layer, blobs=one.blobs: blobs[layer.digest])
    assert sorted(back) == sorted(files)


@given(st.binary(max_size=200))
def test_anything_is_a_signature_or_one_error(data):
    with suppress(ArstoreError):
        simple_signing.wrapped([data, b"\0sigstore-json\n" + data], SUBJECT)


def test_the_bytes_are_those_of_other_tools():
    layer = Descriptor("t", Digest.of(b"p"), 1, {"b": "<&>\u2028", "a": "é"})
    text = '{"mimeType":"t","payload":"cA==","annotations":{"a":"é","b":"\\u003c\\u0026\\u003e\\u2028"}}'
    assert simple_signing._file(layer, b"p") == b"\0sigstore-json\n" + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0sigstore-json\n",
        b"\0sigstore-json\n[]",
        b'\0sigstore-json\n{"mimeType":"t"}',
        b"\0sigstore\n{}",
        b'\0sigstore-json\n{"mimeType":"t","payload":"cA"}',
        b'\0sigstore-json\n{"payload":"cA=="}',
        b'\0sigstore-json\n{"mimeType":"t","payload":"cA==","Payload":"cA=="}',
    ],
)
def test_what_is_no_signature_is_refused(data):
    with pytest.raises(ManifestError):
        simple_signing.wrapped([data], SUBJECT)


def test_other_manifests_are_no_signatures():
    manifest = Manifest.parse(attachments.sbom(SUBJECT.to_json()).raw)
    assert simple_signing.unwrapped(manifest, lambda _layer: b"") is None
    assert MOST == 128
