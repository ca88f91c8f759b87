import pytest
from support import images

from arstore.digest import Digest
from arstore.errors import ManifestError, UnknownFormatError
from arstore.transport.detect import open_source

PICTURE = images.example()


def listed(path, spool):
    with open_source(str(path), spool) as source:
        return [(image.descriptor.media_type, str(image.descriptor.digest), image.names) for image in source.images()]


def test_the_image_is_named_after_the_directory(tmp_path, spool):
    path = images.write_dir(tmp_path / "my-app", PICTURE)
    assert listed(path, spool) == [(images.OCI_MANIFEST, PICTURE.digest, ("my-app:latest",))]
    assert listed(f"dir:{path}", spool) == listed(path, spool)


def test_manifests_of_docker_keep_their_type(tmp_path, spool):
    picture = images.example(docker=True)
    assert listed(images.write_dir(tmp_path / "x", picture), spool)[0][:2] == (images.DOCKER_MANIFEST, picture.digest)


def test_an_index_with_its_instances(tmp_path, spool):
    many = images.index(PICTURE, images.example(architecture="s390x"))
    path = images.write_dir(tmp_path / "x", PICTURE)
    (path / "manifest.json").write_bytes(many.raw)
    (path / f"{PICTURE.digest[7:]}.manifest.json").write_bytes(PICTURE.manifest)
    assert listed(path, spool)[0][:2] == (images.OCI_INDEX, many.digest)
    with open_source(str(path), spool) as source:
        assert source.open_blob(Digest(many.digest)).read() == many.raw
        blob = source.open_blob(Digest(PICTURE.digest))
        assert blob.read() == PICTURE.manifest
        blob.close()


def test_layers_of_the_oldest_version_end_in_tar(tmp_path, spool):
    path = images.write_dir(tmp_path / "x", PICTURE)
    digest = PICTURE.layers[0].digest
    (path / digest[7:]).rename(path / f"{digest[7:]}.tar")
    with open_source(str(path), spool) as source:
        blob = source.open_blob(Digest(digest))
        assert blob.read() == PICTURE.layers[0].blob
        blob.close()


@pytest.mark.parametrize("name", ["version", "manifest.json"])
def test_what_lacks_one_of_its_files_is_none(tmp_path, spool, name):
    path = images.write_dir(tmp_path / "x", PICTURE)
    (path / name).unlink()
    with pytest.raises(UnknownFormatError, match="nor a dir:"):
        listed(path, spool)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schemaVersion":1}', b'{"config":{},"manifests":[]}'])
def test_manifests_that_are_none(tmp_path, spool, content):
    path = images.write_dir(tmp_path / "x", PICTURE)
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestError):
        listed(path, spool)
