"""Descriptors: round trips, and errors that name the field."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci.descriptor import Descriptor, Flawed, listed
from arstore.oci.document import Fields
from arstore.oci.platform import Platform

DIGEST = "sha256:" + "0a" * 32
PLAIN = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 7682}
WORDS = st.text(string.ascii_letters + string.digits + "./-_ 界", max_size=12)

DESCRIPTORS = st.builds(
    Descriptor,
    media_type=st.sampled_from(["application/vnd.oci.image.layer.v1.tar+gzip", "text/plain", "a/b"]),
    digest=st.binary(max_size=4).map(Digest.of) | st.binary(max_size=4).map(lambda data: Digest.of(data, "sha512")),
    size=st.integers(0, 2**63 - 1),
    annotations=st.dictionaries(WORDS, WORDS, max_size=3),
    platform=st.none() | st.builds(Platform, WORDS, WORDS, WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple)),
    urls=st.lists(WORDS, max_size=2).map(tuple),
    artifact_type=WORDS,
)


@given(DESCRIPTORS)
def test_written_descriptors_read_back_equal(descriptor):
    assert Descriptor.parse(descriptor.to_json(), "x") == descriptor


@given(DESCRIPTORS, DESCRIPTORS)
def test_equal_descriptors_hash_equal(one, other):
    assert hash(one) == hash(one.with_annotations({"a": "b"}))
    assert (one == other) == (one.to_json() == other.to_json())


def test_only_what_is_said_is_written():
    assert Descriptor.parse(PLAIN | {"annotations": None, "urls": [], "platform": None}, "x").to_json() == PLAIN


def test_every_member_is_read():
    found = Descriptor.parse(
        PLAIN
        | {
            "urls": ["https://example.com/x"],
            "annotations": {"org.opencontainers.image.ref.name": "1.0"},
            "platform": {
                "os": "linux",
                "architecture": "arm",
                "variant": "v7",
                "os.version": "1",
                "os.features": ["f"],
            },
            "artifactType": "application/x",
            "data": "aGVsbG8=",
            "vendor.member": [1, {}],
        },
        "x",
    )
    assert found == Descriptor(
        PLAIN["mediaType"],
        Digest(DIGEST),
        7682,
        {"org.opencontainers.image.ref.name": "1.0"},
        Platform("linux", "arm", "v7", "1", ("f",)),
        ("https://example.com/x",),
        "application/x",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": None}, "digest: is missing"),
        ({"digest": "sha256:" + "0A" * 32}, "digest: not a sha256"),
        ({"digest": "md5:" + "0a" * 16}, "digest: not a sha256"),
        ({"digest": "sha256:../../etc/passwd"}, "digest: not a sha256"),
        ({"digest": DIGEST + "\n"}, "digest: not a sha256"),
        ({"digest": ["sha256"]}, "digest: is a list"),
        ({"size": None}, "size: is missing"),
        ({"size": -1}, "size: is negative"),
        ({"size": 2**63}, "size: is negative or too large"),
        ({"size": True}, "size: is a boolean"),
        ({"size": 1.5}, "size: is a number, not a whole number"),
        ({"platform": "linux/amd64"}, "platform: is a string"),
        ({"platform": {"os": 1}}, "platform.os: is a number"),
        ({"platform": {"OS": "linux"}}, "platform.OS: this field is spelt os"),
        ({"urls": "x"}, "urls: is a string"),
        ({"Digest": DIGEST}, "Digest: this field is spelt digest"),
    ],
)
def test_errors_name_the_field(change, why):
    with pytest.raises(ManifestError) as caught:
        Descriptor.parse(PLAIN | change, "manifest x")
    assert str(caught.value).startswith(f"manifest x: {why}")


@pytest.mark.parametrize("media_type", [None, "", "layer", "a/b; charset=x"])
def test_any_media_type_is_read(media_type):
    found = Descriptor.parse(PLAIN | {"mediaType": media_type}, "x")
    assert found.media_type == (media_type or "")
    assert ("mediaType" in found.to_json()) == bool(media_type)


@pytest.mark.parametrize("annotations", [None, ["a"], {"a": 1}, {"a": "x\0"}, {"a\0": "x"}])
def test_annotations_that_are_none_are_left_out(annotations):
    assert Descriptor.parse(PLAIN | {"annotations": annotations}, "x").annotations == {}
    assert Descriptor.parse(PLAIN | {"annotations": {"a": 1, "b": "c"}}, "x").annotations == {"b": "c"}


@pytest.mark.parametrize(
    ("text", "data"), [("e30=", b"{}"), ("", b""), ("e30", None), ("e3 0=", None), ("é", None), (3, None), (None, None)]
)
def test_data_is_base64(text, data):
    assert Descriptor.parse(PLAIN | {"data": text}, "x").data == data


@pytest.mark.parametrize(
    "change", [{"digest": "blake3:00"}, {"digest": None}, {"size": -1}, {"size": "1"}, {"platform": 1}]
)
def test_an_entry_that_cannot_be_followed_is_flawed(change):
    found = listed(Fields(PLAIN | change | {"annotations": {"a": "b"}}, "index x"))
    assert isinstance(found, Flawed)
    assert (found.media_type, found.annotations) == (PLAIN["mediaType"], {"a": "b"})
    assert str(found.error).startswith("index x: ")
    assert isinstance(listed(Fields(PLAIN, "x")), Descriptor)


def test_an_entry_in_another_letter_case_is_refused():
    with pytest.raises(ManifestError, match="this field is spelt mediaType"):
        listed(Fields(PLAIN | {"MediaType": "application/xml"}, "x"))


@pytest.mark.parametrize("value", [None, [], "x", 3, True])
def test_no_object_is_no_descriptor(value):
    with pytest.raises(ManifestError, match=r"here: is .*, not an object"):
        Descriptor.parse(value, "here")
