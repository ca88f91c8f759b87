"""TLS: verification, the exceptions that a user may allow, and the hosts that they apply to."""

import shutil
import ssl
import subprocess
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import registry as registries
from support.certificates import Authority
from support.dockerregistry import free_port
from support.programs import program
from support.registry_client import Host

from arstore.digest import Digest
from arstore.errors import RegistryAnswerError, RegistryConfigError, RegistryUnreachableError
from arstore.registry.blobs import RemoteBlob, head_blob
from arstore.registry.http import client_certificate

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
        with pytest.raises(RegistryAnswerError, match="has no TLS"):
            upload(repository, Digest.of(DATA), len(DATA), BytesBlob(DATA))
        assert server.log == []


def test_what_is_allowed_for_a_registry_is_not_allowed_for_others(connect, authority):
    with registries.served(tls=authority.server()) as server, registries.served(tls=authority.server()) as storage:
        digest = server.put_blob("a/b", DATA)
        storage.put_blob("a/b", DATA)
        # The same host on another port is still the host that the user named; another name is not.
        for host, works in ((storage.host, True), (f"localhost:{storage.port}", False)):
            target = f"https://{host}/v2/a/b/blobs/{digest}"
            server.fault("GET", "a/b/blobs", status=307, header=("Location", target), body=b"")
            if works:
                assert read(connect(server, tls_verify=False), digest) == DATA
            else:
                with pytest.raises(RegistryUnreachableError, match="certificate is not trusted"):
                    read(connect(server, tls_verify=False), digest)


@pytest.fixture
def pairs(tmp_path, authority, certificates):
    """Certificates of four CAs in one directory, in the order of their names; `authority` has signed the third."""
    made = []
    for name in ("one", "two", "three", "four"):
        path = tmp_path / name
        path.mkdir()
        issuer = authority if name == "three" else Authority(path, f"CA {name}")
        certificate, key = issuer.issue(f"me-{name}")
        shutil.copy(certificate, certificates / f"{len(made)}.cert")
        shutil.copy(key, certificates / f"{len(made)}.key")
        made.append(issuer)
    return made


@contextmanager
def openssl(authority, accepted, version, tmp_path):
    """A server that replies to GET with a page, and requests a certificate of *accepted*. Gives host and port."""
    certificate, key = authority.issue("localhost")
    port = free_port()
    words = ["openssl", "s_server", "-accept", str(port), "-www", "-cert", certificate, "-key", key, version]
    words += ["-CAfile", accepted.ca, "-Verify", "2", "-verify_return_error"]
    with (
        open(tmp_path / "s_server.log", "wb") as log,
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            while b"ACCEPT" not in (tmp_path / "s_server.log").read_bytes():
                time.sleep(0.02)
                assert process.poll() is None
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.skipif(program("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("wanted", [0, 1, 2, 3, None])
def test_of_several_client_certificates_the_one_that_fits_is_shown(
    connect, authority, certificates, pairs, tmp_path, version, wanted
):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    accepted = Authority(stranger, "a stranger") if wanted is None else pairs[wanted]
    with openssl(authority, accepted, version, tmp_path) as host:
        client = connect(Host(host), tls_verify=None, cert_dir=str(certificates)).client
        if wanted is None:
            with pytest.raises(RegistryUnreachableError):
                client.reach()
        else:
            assert client.reach().scheme == "https"
        assert client.exchange._tls.choice == wanted


def test_a_server_that_names_no_ca_gets_the_first(connect, authority, certificates, pairs):
    # Python's ssl, as a server, names no CA.
    with registries.served(tls=authority.server(clients=True)) as server:
        repository = connect(server, tls_verify=None, cert_dir=str(certificates))
        with pytest.raises(RegistryUnreachableError):
            head_blob(repository, Digest.of(b""))
        for suffix in ("cert", "key"):
            shutil.copy(certificates / f"2.{suffix}", certificates / f"+.{suffix}")
        repository = connect(server, tls_verify=None, cert_dir=str(certificates))
        assert head_blob(repository, Digest.of(b"")) is None
        assert repository.client.exchange._tls.choice == 0


def test_a_server_that_wants_no_certificate_gets_none(connect, authority, certificates, pairs):
    with registries.served(tls=authority.server()) as server:
        repository = connect(server, tls_verify=None, cert_dir=str(certificates))
        assert head_blob(repository, Digest.of(b"")) is None
        assert repository.client.exchange._tls.choice is None


def test_where_nothing_can_be_seen_the_first_is_shown(connect, authority, certificates, pairs, monkeypatch):
    monkeypatch.setattr(client_certificate, "_HOOK", "_there_is_no_such_thing")
    for suffix in ("cert", "key"):
        shutil.copy(certificates / f"2.{suffix}", certificates / f"+.{suffix}")
    with registries.served(tls=authority.server(clients=True)) as server:
        repository = connect(server, tls_verify=None, cert_dir=str(certificates))
        assert head_blob(repository, Digest.of(b"")) is None


@pytest.mark.parametrize("name", ["3.cert", "3.key"])
def test_each_of_several_pairs_has_to_be_good(connect, authority, certificates, pairs, name):
    (certificates / name).write_text("nonsense")
    with (
        registries.served(tls=authority.server()) as server,
        pytest.raises(RegistryConfigError, match="cannot be used"),
    ):
        head_blob(connect(server, tls_verify=None, cert_dir=str(certificates)), Digest.of(b""))


@given(st.binary(max_size=200), st.booleans())
def test_any_request_for_a_certificate_can_be_read(body, tls13):
    names = client_certificate.authorities(body, tls13=tls13)
    assert names is None or all(isinstance(name, bytes) for name in names)


def test_requests_for_a_certificate():
    """RFC 8446, 4.3.2, with signature_algorithms before certificate_authorities; RFC 5246, 7.4.4."""
    names = b"\0\x03abc" + b"\0\x01d"
    listed = len(names).to_bytes(2, "big") + names
    extensions = b"\0\x0d\0\x04\0\x02\x04\x03" + b"\0\x2f" + len(listed).to_bytes(2, "big") + listed
    body = b"\0" + len(extensions).to_bytes(2, "big") + extensions
    assert client_certificate.authorities(body, tls13=True) == [b"abc", b"d"]
    assert client_certificate.authorities(b"\0\0\0", tls13=True) == []
    assert client_certificate.authorities(b"\x01\x40\0\x02\x04\x03" + listed, tls13=False) == [b"abc", b"d"]
    for end in range(len(body)):
        assert client_certificate.authorities(body[:end], tls13=True) is None
    assert hasattr(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), client_certificate._HOOK)
