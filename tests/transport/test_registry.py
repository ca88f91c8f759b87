"""`docker://` as a source: one manifest for a tag, mirrors, names, and missing images."""

import pytest
from support import images
from support import registry as registries
from support.registry import Auth

from arstore.digest import Digest
from arstore.errors import ManifestError, MissingBlobError, RegistryNotFoundError, SizeMismatchError
from arstore.oci.docker_reference import DockerReference
from arstore.oci.manifest import Manifest
from arstore.oci.platform import Platform
from arstore.registry.auth.credential import Credential
from arstore.transport.registry import RegistrySource
from arstore.transport.selection.selector import Selector, Wanted

PICTURE = images.example()
OTHER = images.example(compression="none")


def source(connect, server, behind=":1", **options):
    return RegistrySource(DockerReference.parse(f"{server.host}/a/b{behind}"), connect.access(**options))


def test_a_tag_that_moves_changes_nothing(server, connect):
    server.put_image("a/b", "1", PICTURE)
    with source(connect, server) as found:
        (image,) = found.images()
        server.put_image("a/b", "1", OTHER)
        assert found.open_manifest(image.descriptor).read() == PICTURE.manifest
        assert found.images() == (image,)
        assert len(server.asked("GET", "/manifests/")) == 1


@pytest.mark.parametrize(
    ("behind", "name"),
    [(":1", ":1"), ("@" + PICTURE.digest, ""), (f":1@{PICTURE.digest}", ":1"), (f":gone@{PICTURE.digest}", ":gone")],
)
def test_names(server, connect, behind, name):
    server.put_image("a/b", "1", PICTURE)
    with source(connect, server, behind) as found:
        (image,) = found.images()
        assert image.descriptor.digest == PICTURE.digest
        assert image.names == ((f"{server.host}/a/b{name}",) if name else ())
        wanted = PICTURE.digest if "@" in behind else "1"
        assert server.asked("GET", "/manifests/")[0].path.endswith(f"/manifests/{wanted}")


def test_the_image_for_a_platform_is_all_that_is_read(server, connect):
    arm = images.example(architecture="arm64")
    both = images.index(PICTURE, arm)
    for one in (PICTURE, arm):
        server.put_image("a/b", "", one)
    server.put_manifest("a/b", both.raw, images.OCI_INDEX, "1")
    with source(connect, server) as found:
        selection = Selector(found, Wanted(Platform("linux", "arm64"))).select()
        assert set(selection.images) == {arm.digest}
        assert not server.asked(pattern=f"/manifests/{PICTURE.digest}")
        assert not server.asked("GET", arm.layers[0].digest)
    with source(connect, server) as found:
        selection = Selector(found, Wanted(every=True)).select()
        assert set(selection.images) == {PICTURE.digest, arm.digest}
        assert set(selection.indexes) == {both.digest}


def test_what_is_not_there(server, connect):
    server.put_image("a/b", "1", PICTURE)
    del server.blobs["a/b"][PICTURE.layers[0].digest]
    with source(connect, server) as found:
        with pytest.raises(MissingBlobError, match="does not hold the blob"):
            found.open_blob(Digest(PICTURE.layers[0].digest))
        with pytest.raises(MissingBlobError):
            found.require_blob(Digest(PICTURE.layers[0].digest))
    with source(connect, server, ":2") as found, pytest.raises(RegistryNotFoundError):
        found.images()


def test_what_is_obsolete_is_refused_by_name(server, connect):
    raw = b'{"schemaVersion": 1, "name": "a/b", "tag": "1", "fsLayers": [], "history": []}'
    server.put_manifest("a/b", raw, "application/vnd.docker.distribution.manifest.v1+prettyjws", "1")
    with source(connect, server) as found, pytest.raises(ManifestError, match="schema 1"):
        Selector(found, Wanted()).select()


def test_addresses_in_a_manifest_are_not_followed(connect):
    with registries.served() as server, registries.served() as elsewhere:
        foreign = {"mediaType": images.OCI_LAYER, "digest": PICTURE.layers[0].digest, "size": 5}
        edit = {"urls": [f"{elsewhere.url}/layer"]}
        picture = images.image(*PICTURE.layers, edit_manifest=lambda one: one["layers"][0].update(foreign, **edit))
        server.put_image("a/b", "1", picture)
        del server.blobs["a/b"][PICTURE.layers[0].digest]
        with source(connect, server) as found:
            Selector(found, Wanted()).select()
            with pytest.raises(MissingBlobError):
                found.open_blob(Digest(PICTURE.layers[0].digest))
        assert elsewhere.log == []


def test_the_size_in_the_manifest_is_held_against_the_registry(server, connect):
    server.put_image("a/b", "1", PICTURE)
    digest = PICTURE.layers[0].digest
    server.blobs["a/b"][digest] = b"x" * 10
    with source(connect, server) as found:
        found.images()
        with pytest.raises(SizeMismatchError):
            found.open_blob(Digest(digest))
        (config,) = [Manifest.parse(PICTURE.manifest).config]
        assert found.open_blob(config.digest).read() == PICTURE.config


# --- mirrors --------------------------------------------------------------------------------------------------------


def mirrored(connect, tmp_path, server, *mirrors):
    text = f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n'
    for one in mirrors:
        text += f'[[registry.mirror]]\nlocation = "{one.host}/copy"\ninsecure = true\n'
    path = tmp_path / "etc/containers"
    path.mkdir(parents=True)
    (path / "registries.conf").write_text(text)


def test_the_first_mirror_that_has_it_gives_all(server, connect, tmp_path):
    with registries.served() as empty, registries.served() as full:
        mirrored(connect, tmp_path, server, empty, full)
        full.put_image("copy/a/b", "1", PICTURE)
        with source(connect, server, tls_verify=None) as found:
            assert found.images()[0].names == (f"{server.host}/a/b:1",)
            assert found.open_blob(Digest(PICTURE.config_digest)).read() == PICTURE.config
        assert server.log == []
        assert len(empty.asked("GET", "/manifests/")) == 1


def test_when_nobody_has_it_all_are_named(server, connect, tmp_path):
    with registries.served() as mirror:
        mirrored(connect, tmp_path, server, mirror)
        with source(connect, server, tls_verify=None) as found, pytest.raises(RegistryNotFoundError) as caught:
            found.images()
        assert mirror.host in str(caught.value)
        assert str(caught.value).startswith(f"{server.host}/a/b:1")


def test_credentials_that_were_given_do_not_go_to_a_mirror(connect, tmp_path):
    auth = Auth(users={"me": "x"})
    with registries.served(auth) as server, registries.served(auth) as mirror:
        server.put_image("a/b", "1", PICTURE)
        mirrored(connect, tmp_path, server, mirror)
        with source(connect, server, tls_verify=None, credential=Credential("me", "x")) as found:
            found.images()
        assert {one.authorization for one in mirror.log} == {""}
        assert any(one.authorization for one in server.log)


def test_warnings_reach_people(server, connect):
    server.put_image("a/b", "1", PICTURE)
    server.fault("*", "/v2/", times=99, header=("Warning", '299 - "going away"'))
    with source(connect, server) as found:
        found.images()
    assert connect.warned == ["the registry warns: going away"]
