import pytest

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError, NotFoundError
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor
from arstore.oci.platform import Platform
from arstore.transport.names import EVERYTHING, Choice, annotated, chosen, named, same_name
from arstore.transport.source import SourceImage

A, B, C = (Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(x), 1) for x in (b"a", b"b", b"c"))
ATTESTATION = Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(b"d"), 1,
                         platform=Platform("unknown", "unknown"))  # fmt: skip


def names(claims, file_name=""):
    return {image.descriptor.digest: image.names for image in named(claims, file_name)}


def test_entries_of_one_digest_are_one_image():
    found = named([(A, ["a:1"]), (B, []), (A, ["a:2", "a:1"])], "")
    assert found == (SourceImage(A, ("a:1", "a:2")), SourceImage(B, ()))


def test_a_name_may_be_claimed_several_times():
    assert names([(A, ["x:1", "a:1"]), (B, ["x:1"])]) == {A.digest: ("x:1", "a:1"), B.digest: ("x:1",)}
    assert names([(A, ["x:1"]), (B, ["x:1"])], "file.tar") == {A.digest: ("x:1",), B.digest: ("x:1",)}


def test_the_only_image_without_a_name_is_named_after_the_file():
    assert names([(A, [])], "Pipeline.tar.gz") == {A.digest: ("pipeline:latest",)}
    assert names([(A, []), (B, ["b:1"])], "x.tar") == {A.digest: ("x:latest",), B.digest: ("b:1",)}
    assert names([(A, []), (ATTESTATION, [])], "x.tar")[A.digest] == ("x:latest",)


@pytest.mark.parametrize(
    ("claims", "file_name"),
    [
        ([(A, []), (B, [])], "x.tar"),
        ([(A, []), (B, ["x:latest"])], "x.tar"),
        ([(A, [])], "流水线.tar.gz"),
        ([(A, [])], "two words.tar"),
        ([(A, [])], ""),
        ([(ATTESTATION, [])], "x.tar"),
    ],
)
def test_no_name_is_made_up(claims, file_name):
    assert names(claims, file_name)[claims[0][0].digest] == ()


@pytest.mark.parametrize(
    ("annotations", "file_name", "name"),
    [
        ({}, "x.tar", ""),
        ({REF_NAME: "localhost/app:2"}, "x.tar", "localhost/app:2"),
        ({REF_NAME: "latest"}, "x.tar", "x:latest"),
        ({REF_NAME: "1.0", CONTAINERD_NAME: "docker.io/library/app:1.0"}, "x.tar", "docker.io/library/app:1.0"),
        ({REF_NAME: "not a name"}, "x.tar", ""),
    ],
)
def test_annotations_name_images(annotations, file_name, name):
    assert annotated(A.with_annotations(annotations), file_name) == name


def test_same_name():
    assert same_name("docker.io/library/busybox:latest", ["busybox:latest"])
    assert same_name("busybox", ["docker.io/library/busybox:latest"])
    assert not same_name("busybox:1", ["busybox:latest"])
    assert not same_name("No Name", ["busybox:latest"])


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("", EVERYTHING),
        (":app", Choice(name="app")),
        (":localhost:5000/app:1", Choice(name="localhost:5000/app:1")),
        (f"@{A.digest}", Choice(digest=A.digest)),
        (f":@{A.digest}", Choice(digest=A.digest)),
        ("@0", Choice(position=0)),
        (":@12", Choice(position=12)),
    ],
)
def test_choices_are_parsed(text, choice):
    assert Choice.parse(text) == choice


@pytest.mark.parametrize("text", [":", "@", ":@", "@sha256:abc", "@-1", "@1234567890"])
def test_what_is_no_choice_is_refused(text):
    with pytest.raises(InvalidReferenceError):
        Choice.parse(text)


IMAGES = (SourceImage(A, ("localhost/a:1", "b:1")), SourceImage(B, ("b:2",)), SourceImage(C, ()))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (EVERYTHING, IMAGES),
        (Choice(name="b:1"), (SourceImage(A, ("b:1",)),)),
        (Choice(name="a:1"), (SourceImage(A, ("localhost/a:1",)),)),
        (Choice(digest=C.digest), (SourceImage(C, ()),)),
        (Choice(position=1), (IMAGES[1],)),
        (Choice(position=2), (IMAGES[2],)),
    ],
)
def test_choices_are_found(choice, expected):
    assert chosen(IMAGES, choice, "x") == expected


@pytest.mark.parametrize("choice", [Choice(name="b:3"), Choice(name="Not A Name"), Choice(position=3),
                                    Choice(digest=Digest.of(b"other"))])  # fmt: skip
def test_what_is_not_there_is_said_with_what_is(choice):
    with pytest.raises(NotFoundError, match=r"it has localhost/a:1, b:2, @sha256:2e7d"):
        chosen(IMAGES, choice, "x")


def test_of_many_images_only_some_are_shown():
    many = [SourceImage(A, (f"a:{n}",)) for n in range(9)]
    with pytest.raises(NotFoundError, match=r"a:4 and 4 more$"):
        chosen(many, Choice(name="b"), "x")
    with pytest.raises(NotFoundError, match=r"it has no images$"):
        chosen([], Choice(name="b"), "x")
