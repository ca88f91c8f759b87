"""TLS: what is verified, what a user may allow, and for whom that counts."""

import shutil

import pytest
from support import registry as registries
from support.certificates import Authority

from arstore.digest import Digest
from arstore.errors import RegistryAnswerError, RegistryConfigError, RegistryUnreachableError
from arstore.registry.blobs import RemoteBlob, head_blob

DATA = b"some data"


@pytest.fixture
def authority(tmp_path):
    path = tmp_path / "pki"
    path.mkdir()
    return Authority(path)


@pytest.fixture
def certificates(tmp_path, authority):
    path = tmp_path / "certs"
    path.mkdir()
    shutil.copy(authority.ca, path / "ca.crt")
    return path


def read(repository, digest):
    with RemoteBlob(repository, Digest(digest), len(DATA)) as blob:
        return blob.read()


def test_a_private_ca(connect, authority, certificates):
    with registries.served(tls=authority.server()) as server:
        digest = server.put_blob("a/b", DATA)
        assert read(connect(server, tls_verify=None, cert_dir=str(certificates)), digest) == DATA
        with pytest.raises(RegistryUnreachableError, match="certificate is not trusted"):
            read(connect(server, tls_verify=None), digest)
        with pytest.raises(RegistryUnreachableError, match="certificate is not trusted"):
            read(connect(server, tls_verify=True), digest)
        assert read(connect(server, tls_verify=False), digest) == DATA


def test_a_certificate_for_another_name(connect, authority, certificates):
    with registries.served(tls=authority.server()) as server:
        repository = connect(server, tls_verify=None, cert_dir=str(certificates))
        wrong = repository.client
        assert head_blob(repository, Digest.of(b"")) is None
        assert wrong.reach().scheme == "https"


def test_client_certificates(connect, authority, certificates):
    with registries.served(tls=authority.server(clients=True)) as server:
        digest = server.put_blob("a/b", DATA)
        with pytest.raises(RegistryUnreachableError):
            read(connect(server, tls_verify=None, cert_dir=str(certificates)), digest)
        certificate, key = authority.issue("me")
        shutil.copy(certificate, certificates / "me.cert")
        shutil.copy(key, certificates / "me.key")
        assert read(connect(server, tls_verify=None, cert_dir=str(certificates)), digest) == DATA


@pytest.mark.parametrize("name", ["ca.crt", "me.cert", "me.key"])
def test_certificates_that_are_none(connect, authority, certificates, name):
    certificate, key = authority.issue("me")
    shutil.copy(certificate, certificates / "me.cert")
    shutil.copy(key, certificates / "me.key")
    (certificates / name).write_text("nonsense")
    with (
        registries.served(tls=authority.server()) as server,
        pytest.raises(RegistryConfigError, match="cannot be used"),
    ):
        head_blob(connect(server, tls_verify=None, cert_dir=str(certificates)), Digest.of(b""))


def test_plain_http_only_when_it_is_allowed(server, connect):
    with pytest.raises(RegistryUnreachableError, match=r"--tls-verify=false|closed"):
        head_blob(connect(server, tls_verify=None), Digest.of(b""))
    assert server.log == []
    assert head_blob(connect(server, tls_verify=False), Digest.of(b"")) is None


def test_https_is_tried_first(connect, authority):
    with registries.served(tls=authority.server()) as server:
        repository = connect(server, tls_verify=False)
        assert head_blob(repository, Digest.of(b"")) is None
        assert repository.client.reach().scheme == "https"


def test_a_redirect_to_plain_http_is_refused(server, connect, authority, certificates):
    with registries.served(tls=authority.server()) as secure:
        digest = secure.put_blob("a/b", DATA)
        secure.fault("GET", "/blobs/", status=307, header=("Location", f"{server.url}/x"), body=b"")
        with pytest.raises(RegistryAnswerError, match="not protected by TLS"):
            read(connect(secure, tls_verify=None, cert_dir=str(certificates)), digest)
        assert server.log == []


def test_an_upload_may_not_go_on_in_the_clear(server, connect, authority, certificates):
    from arstore.registry.uploads import BytesBlob, upload

    with registries.served(tls=authority.server()) as secure:
        secure.fault("POST", "/blobs/", times=9, header=("Location", f"{server.url}/x"))
        repository = connect(secure, tls_verify=None, cert_dir=str(certificates))
        with pytest.raises(RegistryAnswerError, match="without TLS"):
            upload(repository, Digest.of(DATA), len(DATA), BytesBlob(DATA))
        assert server.log == []


def test_what_is_allowed_for_a_registry_is_not_allowed_for_others(connect, authority):
    with registries.served(tls=authority.server()) as server, registries.served(tls=authority.server()) as storage:
        digest = server.put_blob("a/b", DATA)
        storage.put_blob("a/b", DATA)
        # The same host on another port is what the user named; another name is not.
        for host, works in ((storage.host, True), (f"localhost:{storage.port}", False)):
            target = f"https://{host}/v2/a/b/blobs/{digest}"
            server.fault("GET", "a/b/blobs", status=307, header=("Location", target), body=b"")
            if works:
                assert read(connect(server, tls_verify=False), digest) == DATA
            else:
                with pytest.raises(RegistryUnreachableError, match="certificate is not trusted"):
                    read(connect(server, tls_verify=False), digest)
