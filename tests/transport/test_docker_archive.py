import json

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
from arstore.oci.manifest import Manifest
from arstore.transport.detect import open_source

ONE = images.example(["localhost/one:1", "one:2"])
TWO = images.image(images.layer([images.file("two", b"2")]), names=["localhost/two:2"])
CONFIG = f"{ONE.config_digest[7:]}.json"


def archive(path, entries, *more, compression="none"):
    files = [images.file("manifest.json", images.dump(entries)), *more]
    return images.write_archive(path, files, compression)


def entry(picture=ONE, **more):
    config = f"{picture.config_digest[7:]}.json"
    layers = [f"{layer.diff_id[7:]}.tar" for layer in picture.layers]
    return {"Config": config, "RepoTags": list(picture.names), "Layers": layers, **more}


def content(picture=ONE):
    files = [images.file(f"{layer.diff_id[7:]}.tar", layer.tar) for layer in picture.layers]
    return [*files, images.file(f"{picture.config_digest[7:]}.json", picture.config)]


def manifests(reference, spool):
    """The manifests by names; every layer is read and compared with its digest."""
    with open_source(str(reference), spool) as source:
        found = {}
        for image in source.images():
            manifest = Manifest.parse(source.open_blob(image.descriptor.digest).read())
            for blob in (manifest.config, *manifest.layers):
                assert images.sha256(source.open_blob(blob.digest).read()) == blob.digest
            found[image.names] = manifest
        return found


@pytest.mark.parametrize("style", ["podman", "old"])
def test_several_images_and_names(tmp_path, spool, style):
    found = manifests(images.write_docker_archive(tmp_path / "x", ONE, TWO, style=style), spool)
    assert list(found) == [("localhost/one:1", "one:2"), ("localhost/two:2",)]
    assert [layer.digest for layer in found["localhost/two:2",].layers] == TWO.diff_ids
    assert found["localhost/two:2",].config.digest == TWO.config_digest


def test_the_made_manifest_is_oci_and_always_the_same(tmp_path, spool):
    (one,) = manifests(images.write_docker_archive(tmp_path / "x", ONE, style="old"), spool).values()
    (other,) = manifests(images.write_docker_archive(tmp_path / "y", ONE, compression="gzip"), spool).values()
    assert one == other
    assert one.media_type == images.OCI_MANIFEST
    assert {layer.media_type for layer in one.layers} == {images.OCI_LAYER}


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_compressed_layers_are_known_by_their_own_digest(tmp_path, spool, compression):
    picture = images.example(compression=compression)
    files = [images.file(f"{layer.diff_id[7:]}.tar", layer.blob) for layer in picture.layers]
    config = images.file(f"{picture.config_digest[7:]}.json", picture.config)
    path = archive(tmp_path / "x", [entry(picture), entry(picture)], *files, config)
    (found,) = manifests(path, spool).values()
    assert [layer.digest for layer in found.layers] == [layer.digest for layer in picture.layers]
    if compression in ("gzip", "zstd"):
        assert {layer.media_type for layer in found.layers} == {f"{images.OCI_LAYER}+{compression}"}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"RepoTags": None}, ("x:latest",)),
        ({"RepoTags": []}, ("x:latest",)),
        ({"RepoTags": ["<none>:<none>"]}, ("x:latest",)),
        ({"RepoTags": ["Not A Name", "good"]}, ("good:latest",)),
        ({"RepoTags": ["a:1", "a:1"]}, ("a:1",)),
    ],
)
def test_tags(tmp_path, spool, more, names):
    assert list(manifests(archive(tmp_path / "x.tar", [entry(**more)], *content()), spool)) == [names]


def test_one_name_for_two_images_is_claimed_by_both(tmp_path, spool):
    entries = [entry(ONE, RepoTags=["a:1", "b:1"]), entry(TWO, RepoTags=["a:1"])]
    found = manifests(archive(tmp_path / "x", entries, *content(ONE), *content(TWO)), spool)
    assert {names: manifest.config.digest for names, manifest in found.items()} == {
        ("a:1", "b:1"): ONE.config_digest,
        ("a:1",): TWO.config_digest,
    }


@pytest.mark.parametrize("choice", [":one:1", ":localhost/one:1", ":@0"])
def test_an_image_is_chosen(tmp_path, spool, choice):
    path = images.write_docker_archive(tmp_path / "x", ONE, TWO)
    ((names, manifest),) = manifests(f"docker-archive:{path}{choice}", spool).items()
    assert manifest.config.digest == ONE.config_digest
    assert names == (ONE.names if choice == ":@0" else ("localhost/one:1",))


def test_what_is_not_there_is_not_found(tmp_path, spool):
    path = images.write_docker_archive(tmp_path / "x", ONE, TWO)
    with pytest.raises(NotFoundError, match="no image named three; it has localhost/one:1, localhost/two:2"):
        manifests(f"docker-archive:{path}:three", spool)


def test_layers_may_be_links_within_the_archive(tmp_path, spool):
    first, *rest = [f"{layer.diff_id[7:]}.tar" for layer in ONE.layers]
    files = [member for member in content() if member.info.name != first]
    files += [images.file("l/real", ONE.layers[0].tar), images.hardlink("l/hard", "l/real")]
    files += [images.symlink("m/soft", "../l/hard")]
    path = archive(tmp_path / "x", [entry(Layers=["m/soft", *rest])], *files)
    (found,) = manifests(path, spool).values()
    assert [layer.digest for layer in found.layers] == ONE.diff_ids


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd"])
def test_links_out_of_the_archive_are_refused(tmp_path, spool, target):
    first, *rest = [f"{layer.diff_id[7:]}.tar" for layer in ONE.layers]
    path = archive(tmp_path / "x", [entry(Layers=["m/soft", *rest])], images.symlink("m/soft", target), *content())
    with pytest.raises(UnsafePathError, match="leads out of the archive"):
        manifests(path, spool)
    assert first


def test_links_in_a_circle_are_refused(tmp_path, spool):
    circle = [images.symlink("a", "b"), images.symlink("b", "a")]
    with pytest.raises(LimitError):
        manifests(archive(tmp_path / "x", [entry(Config="a")], *circle, *content()), spool)


@pytest.mark.parametrize("name", ["{}.json", "{}", "blobs/sha256/{}", "sha256:{}", "config.json"])
def test_names_of_configs(tmp_path, spool, name):
    name = name.format(ONE.config_digest[7:])
    path = archive(tmp_path / "x", [entry(Config=f"./{name}")], *content()[:-1], images.file(name, ONE.config))
    (found,) = manifests(path, spool).values()
    assert found.config.digest == ONE.config_digest


def test_a_config_has_the_digest_that_it_is_named_by(tmp_path, spool):
    config = json.loads(ONE.config)
    config["author"] = "somebody else"
    files = [*content()[:-1], images.file(CONFIG, images.dump(config))]
    with pytest.raises(DigestMismatchError, match=CONFIG):
        manifests(archive(tmp_path / "x", [entry()], *files), spool)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"Config": ""}, ManifestError, r"\[0\]\.Config: is missing"),
        ({"Config": 7}, ManifestError, "not a string"),
        ({"Config": "missing.json"}, MissingBlobError, "config missing.json"),
        ({"Config": "nul\0"}, ManifestError, "NUL"),
        ({"Config": "../../etc/passwd"}, UnsafePathError, "leads out"),
        ({"Layers": ["missing"] * 3}, MissingBlobError, "layer missing"),
        ({"Layers": []}, ManifestError, "has 3 diff IDs, but manifest.json lists 0 layers"),
        ({"Layers": "x"}, ManifestError, "not a list"),
        ({"Layers": [["x"]]}, ManifestError, "not a string"),
        ({"RepoTags": "x"}, ManifestError, "not a list"),
        ({"RepoTags": [None]}, ManifestError, "not a string"),
    ],
)
def test_entries_that_are_wrong(tmp_path, spool, more, error, said):
    with pytest.raises(error, match=said):
        manifests(archive(tmp_path / "x", [entry(**more)], *content()), spool)


@pytest.mark.parametrize("entries", [[7], [None], [[]], ["x"]])
def test_lists_of_something_else(tmp_path, spool, entries):
    with pytest.raises(ManifestError, match="not an object"):
        manifests(archive(tmp_path / "x", entries), spool)


@pytest.mark.parametrize(
    ("raw", "error"),
    [(b"[", ManifestError), (b"[]]", ManifestError), (b"[" * 9999, LimitError), (b"[" + b" " * (5 << 20), LimitError)],
)
def test_lists_that_are_none(tmp_path, spool, raw, error):
    with pytest.raises(error):
        manifests(images.write_archive(tmp_path / "x", [images.file("manifest.json", raw)]), spool)


@pytest.mark.parametrize("raw", [b"", b"7", b'"x"', b"{}"])
def test_documents_that_are_no_list_make_no_archive(tmp_path, spool, raw):
    with pytest.raises(UnknownFormatError):
        manifests(images.write_archive(tmp_path / "x", [images.file("manifest.json", raw)]), spool)


def test_configs_that_are_wrong(tmp_path, spool):
    with pytest.raises(ManifestError):
        manifests(archive(tmp_path / "x", [entry(Config="c")], images.file("c", b"{}"), *content()), spool)
    with pytest.raises(ManifestError):
        manifests(archive(tmp_path / "x", [entry(Config="c")], images.file("c", b"\xff\xfe"), *content()), spool)


def test_an_archive_without_images(tmp_path, spool):
    assert manifests(archive(tmp_path / "x", []), spool) == {}


def test_an_image_without_layers(tmp_path, spool):
    empty = images.image(names=["empty:1"])
    (found,) = manifests(archive(tmp_path / "x", [entry(empty, Layers=None)], *content(empty)), spool).values()
    assert found.layers == ()


def test_a_layer_that_stands_twice_is_one_blob(tmp_path, spool):
    twice = images.image(TWO.layers[0], TWO.layers[0], names=["twice:1"])
    (found,) = manifests(archive(tmp_path / "x", [entry(twice)], *content(twice)), spool).values()
    assert [layer.digest for layer in found.layers] == TWO.diff_ids * 2


def test_archives_before_1_10_are_told_from_unknown_ones(tmp_path, spool):
    files = [images.file(name, b"{}") for name in ("repositories", "x/VERSION", "x/json", "x/layer.tar")]
    with pytest.raises(UnknownFormatError, match=r"Docker before 1\.10"):
        manifests(images.write_archive(tmp_path / "x", files), spool)


def test_blobs_are_found_without_listing_first(tmp_path, spool):
    with open_source(str(images.write_docker_archive(tmp_path / "x", ONE)), spool) as source:
        blob = source.open_blob(Digest(ONE.diff_ids[0]))
        assert blob.read() == ONE.layers[0].tar
