import json
import os

import pytest
from support import images

from arstore.digest import Digest
from arstore.errors import (
    DigestMismatchError,
    LimitError,
    ManifestError,
    MissingBlobError,
    NotFoundError,
    UnknownFormatError,
    UnsafePathError,
)
from arstore.transport.detect import open_source

ONE = images.example(["localhost/one:1"])
TWO = images.image(images.layer([images.file("two", b"2")]), names=["localhost/two:2"])


def listed(reference, spool):
    with open_source(str(reference), spool) as source:
        return {str(image.descriptor.digest): image.names for image in source.images()}


@pytest.mark.parametrize("write", [images.write_layout, images.write_oci_archive])
def test_several_images_and_names(tmp_path, spool, write):
    two = images.image(*TWO.layers, names=["two:1", "two:2"])
    assert listed(write(tmp_path / "x", ONE, two), spool) == {
        ONE.digest: ("localhost/one:1",),
        two.digest: ("two:1", "two:2"),
    }


def test_one_name_for_two_images_is_claimed_by_both(tmp_path, spool):
    one, two = (images.image(images.layer([images.file(n)]), names=["app:1"]) for n in "ab")
    assert listed(images.write_layout(tmp_path / "x", one, two), spool) == {
        one.digest: ("app:1",),
        two.digest: ("app:1",),
    }


def test_an_index_keeps_its_names_and_is_not_followed(tmp_path, spool):
    inner = images.index(ONE, images.example(architecture="s390x"), names=["ignored:1"])
    outer = images.index(inner, names=["many:1"])
    assert listed(images.write_layout(tmp_path / "x", outer), spool) == {outer.digest: ("many:1",)}


def test_a_descriptor_keeps_its_platform_and_annotations(tmp_path, spool):
    with open_source(str(images.write_layout(tmp_path / "x", ONE)), spool) as source:
        (image,) = source.images()
    assert image.descriptor.platform is not None
    assert image.descriptor.annotations == {images.REF_NAME: "localhost/one:1"}


def test_an_image_without_a_name_is_named_after_its_file(tmp_path, spool):
    nameless = images.image(*TWO.layers)
    assert listed(images.write_oci_archive(tmp_path / "Some-App.oci.tar", nameless), spool) == {
        nameless.digest: ("some-app:latest",)
    }
    assert listed(images.write_layout(tmp_path / "layout", nameless), spool) == {nameless.digest: ("layout:latest",)}


def test_a_mere_tag_goes_with_the_name_of_the_file(tmp_path, spool):
    tagged = images.image(*TWO.layers, names=["latest", "v1.2"])
    assert listed(images.write_layout(tmp_path / "app", tagged), spool) == {tagged.digest: ("app:latest", "app:v1.2")}


@pytest.mark.parametrize("choice", [":v1.2", ":app:v1.2"])
def test_an_image_is_chosen_by_its_tag_or_its_name(tmp_path, spool, choice):
    tagged = images.image(*TWO.layers, names=["latest", "v1.2"])
    path = images.write_layout(tmp_path / "app", ONE, tagged)
    assert listed(f"oci:{path}{choice}", spool) == {tagged.digest: ("app:v1.2",)}


def test_an_image_is_chosen_by_its_digest_at_the_top_or_below(tmp_path, spool):
    outer = images.index(images.index(ONE, TWO), names=["many:1"])
    path = images.write_oci_archive(tmp_path / "x.tar", outer)
    assert listed(f"oci-archive:{path}@{outer.digest}", spool) == {outer.digest: ("many:1",)}
    assert set(listed(f"oci-archive:{path}@{TWO.digest}", spool)) == {TWO.digest}
    with pytest.raises(NotFoundError):
        listed(f"oci-archive:{path}@{Digest.of(b'other')}", spool)
    with pytest.raises(NotFoundError):
        listed(f"oci-archive:{path}@{ONE.config_digest}", spool)


def test_indexes_that_lead_in_a_circle_or_nowhere_are_no_trouble(tmp_path, spool):
    inner = images.index(*([TWO] * 3))
    for _ in range(12):
        inner = images.index(inner, inner)
    path = images.write_layout(tmp_path / "x", inner, omit=[TWO.digest])
    with pytest.raises(NotFoundError):
        listed(f"oci:{path}@{Digest.of(b'other')}", spool)


def test_the_index_has_to_be_there(tmp_path, spool):
    path = images.write_layout(tmp_path / "x", ONE)
    (path / "index.json").unlink()
    with pytest.raises(UnknownFormatError, match=r"index\.json"):
        listed(path, spool)
    members = [member for member in images.layout_files(ONE) if member.info.name != "index.json"]
    with pytest.raises(UnknownFormatError, match=r"index\.json"):
        listed(images.write_archive(tmp_path / "y", members), spool)


@pytest.mark.parametrize("marker", [None, b"", b"garbage", b"[]", b"{}", b'{"imageLayoutVersion":"2.0.0"}'])
def test_nothing_depends_on_the_marker(tmp_path, spool, marker):
    path = images.write_layout(tmp_path / "x", ONE)
    (path / "oci-layout").unlink()
    if marker is not None:
        (path / "oci-layout").write_bytes(marker)
    assert listed(path, spool) == {ONE.digest: ("localhost/one:1",)}
    assert listed(f"oci:{path}", spool) == {ONE.digest: ("localhost/one:1",)}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("index.json", b"{", ManifestError),
        ("index.json", b"\xff", ManifestError),
        ("index.json", ONE.manifest, ManifestError),
        ("index.json", b'{"manifests":[],"manifests":[]}', ManifestError),
        ("index.json", b"[" * 100_000, LimitError),
        ("index.json", b" " * (17 << 20), LimitError),
        ("index.json", b'{"x":[' + b"[]," * (2 << 20) + b"0]}", LimitError),
    ],
)
def test_documents_that_are_wrong(tmp_path, spool, name, content, error):
    path = images.write_layout(tmp_path / "x", ONE)
    (path / name).write_bytes(content)
    with pytest.raises(error):
        listed(path, spool)


def test_an_empty_layout_has_no_images(tmp_path, spool):
    assert listed(images.write_layout(tmp_path / "x"), spool) == {}


def test_a_missing_blob_is_said(tmp_path, spool):
    digest = ONE.layers[0].digest
    with (
        open_source(str(images.write_layout(tmp_path / "x", ONE, omit=[digest])), spool) as source,
        pytest.raises(MissingBlobError, match=f"x: does not hold the blob {digest}$"),
    ):
        source.open_blob(Digest(digest))


def test_a_missing_blob_of_an_archive_without_its_end_has_a_reason(tmp_path, spool):
    path = images.write_oci_archive(tmp_path / "x", ONE)
    with open_source(str(path), spool) as source:
        last = max(ONE.blobs())
        _, offset, _ = source.open_blob(Digest(last)).window()
    with open(path, "r+b") as file:
        file.truncate(offset - 512)
    with open_source(str(path), spool) as source, pytest.raises(MissingBlobError, match="no end mark, so it may be"):
        source.open_blob(Digest(last))


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo"])
def test_a_blob_of_an_archive_is_a_regular_file(tmp_path, spool, kind):
    digest = ONE.layers[0].digest
    name = "blobs/" + digest.replace(":", "/")
    made = {
        "symlink": lambda: images.symlink(name, "/etc/passwd"),
        "hardlink": lambda: images.hardlink(name, "index.json"),
        "fifo": lambda: images.fifo(name),
    }[kind]()
    members = [*images.layout_files(ONE, omit=[digest]), made]
    with (
        open_source(str(images.write_archive(tmp_path / "x", members)), spool) as source,
        pytest.raises(UnsafePathError, match="only regular files are read"),
    ):
        source.open_blob(Digest(digest))


def open_everything(path, spool):
    with open_source(str(path), spool) as source:
        for image in source.images():
            source.open_blob(image.descriptor.digest).close()


@pytest.mark.parametrize("name", ["oci-layout", "index.json", "blobs", "blobs/sha256"])
def test_no_part_of_a_layout_is_a_link(tmp_path, spool, name):
    path = images.write_layout(tmp_path / "x", ONE)
    os.rename(path / name, tmp_path / "elsewhere")
    (path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError):
        open_everything(path, spool)


def hybrid(path, *pictures, **more):
    """A hybrid archive in which Docker itself would write other annotations."""
    members = images.docker_files(*pictures, style="hybrid")
    for member in members:
        if member.info.name == "index.json" and more.get("annotations") is not None:
            document = json.loads(member.content)
            for descriptor in document["manifests"]:
                descriptor["annotations"] = more["annotations"]
            member.content = images.dump(document)
            member.info.size = len(member.content)
    return images.write_archive(path, members)


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        (None, ("busybox:1",)),
        ({images.CONTAINERD_NAME: "docker.io/library/busybox:1", images.REF_NAME: "1"}, ("busybox:1",)),
        ({images.REF_NAME: "1"}, ("busybox:1",)),
        ({}, ("busybox:1",)),
        ({images.CONTAINERD_NAME: "quay.io/other:1"}, ("busybox:1", "quay.io/other:1")),
    ],
)
def test_tags_beside_a_layout_are_names(tmp_path, spool, annotations, names):
    picture = images.example(["busybox:1"])
    (found,) = listed(hybrid(tmp_path / "x.tar", picture, annotations=annotations), spool).values()
    assert found == names


def test_a_hybrid_archive_is_read_as_what_is_asked_for(tmp_path, spool):
    path = images.write_docker_archive(tmp_path / "x", ONE, TWO, style="hybrid")
    as_layout, as_docker = listed(f"oci-archive:{path}", spool), listed(f"docker-archive:{path}", spool)
    assert listed(path, spool) == as_layout
    assert list(as_layout.values()) == list(as_docker.values()) == [("localhost/one:1",), ("localhost/two:2",)]


def test_a_hybrid_archive_whose_layout_lacks_blobs_is_a_docker_archive(tmp_path, spool):
    members = images.docker_files(ONE, style="hybrid")
    manifest = next(m for m in members if m.info.name.startswith("blobs/") and b'"layers":[' in m.content)
    members.remove(manifest)
    with open_source(str(images.write_archive(tmp_path / "x", members)), spool) as source:
        (image,) = source.images()
        assert image.names == ("localhost/one:1",)
        source.open_blob(image.descriptor.digest).close()


def altered(files, digest, content):
    """*files* with other content of the same size under the name of a blob."""
    (member,) = [one for one in files if one.info.name == f"blobs/sha256/{digest[7:]}"]
    assert len(content) == member.info.size
    member.content = content
    return files


def test_a_manifest_that_is_not_what_its_digest_says_gets_no_names(tmp_path, spool):
    """The bytes have everything that an image needs, but differ from what its descriptor promises."""
    members = images.docker_files(ONE, style="hybrid")
    (entry,) = json.loads(next(one for one in members if one.info.name == "index.json").content)["manifests"]
    digest = entry["digest"]
    manifest = next(one for one in members if one.info.name == f"blobs/sha256/{digest[7:]}").content
    lie = images.dump(dict(reversed(json.loads(manifest).items())))
    found = listed(images.write_archive(tmp_path / "x", altered(members, digest, lie)), spool)
    assert digest not in found
    assert list(found.values()) == [("localhost/one:1",)]


def test_a_config_that_is_not_what_its_digest_says_makes_no_image_whole(tmp_path, spool):
    members = images.docker_files(ONE, style="hybrid")
    lie = ONE.config.replace(b"2023", b"1999", 1)
    path = images.write_archive(tmp_path / "x", altered(members, ONE.config_digest, lie))
    with open_source(str(path), spool) as source, pytest.raises(DigestMismatchError):
        source.images()


def test_an_index_that_is_not_what_its_digest_says_is_not_followed(tmp_path, spool):
    """Otherwise the requested image would be found below it."""
    two = images.index(ONE, names=["many:1"])
    files = images.layout_files(two)
    lie = two.raw.replace(b'"linux"', b'"LINUX"', 1)
    path = images.write_archive(tmp_path / "x", altered(files, two.digest, lie))
    assert listed(
        f"oci-archive:{images.write_archive(tmp_path / 'good', images.layout_files(two))}:@{ONE.digest}", spool
    )
    with pytest.raises(NotFoundError):
        listed(f"oci-archive:{path}:@{ONE.digest}", spool)
