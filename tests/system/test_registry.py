"""docker:// against Debian's docker-registry: plain, and with TLS, passwords and client certificates."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest
from support import dockerregistry, images
from support import registry as registries
from support.certificates import Authority
from support.programs import program
from support.registry import Auth

from arstore.digest import Digest
from arstore.oci.docker_reference import DockerReference
from arstore.registry.access import Access, RegistryOptions
from arstore.registry.auth.credential import Credential
from arstore.registry.blobs import RemoteBlob, head_blob
from arstore.registry.configuration.places import Places
from arstore.registry.manifests import put_manifest
from arstore.registry.referrers import list_referrers, put_referrer
from arstore.registry.tags import list_tags
from arstore.registry.uploads import BytesBlob, mount, upload

PICTURE = images.example()
pytestmark = pytest.mark.skipif(program("docker-registry") is None, reason="docker-registry is not installed")


@pytest.fixture
def host(tmp_path):
    with dockerregistry.served(tmp_path) as host:
        yield host


def access(tmp_path, **options):
    places = Places({"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}, 1000, str(tmp_path / "etc"))
    return Access(RegistryOptions(**{"tls_verify": False, "places": places, **options}))


def push(repository, picture, tag, chunk=0):
    """Push an image with the code that uploads blobs and manifests."""
    for data in (picture.config, *(layer.blob for layer in picture.layers)):
        upload(repository, Digest.of(data), len(data), BytesBlob(data), chunk)
    put_manifest(repository, tag, picture.media_type, picture.manifest)


def test_there_and_back(host, store, tmp_path):
    with access(tmp_path) as opened:
        push(opened.to_write(DockerReference.parse(f"{host}/a/b")), PICTURE, "1")
    name = f"{host}/a/b:1"
    done = store.ok("pull", "--tls-verify=false", name)
    assert done.text == f"{PICTURE.digest} {name}\n"
    assert store.ok("list-tags", "--tls-verify=false", f"docker://{host}/a/b").text == "1\n"
    store.ok("check")
    store.ok("delete", "--tls-verify=false", f"docker://{name}")
    assert store.run("pull", "--tls-verify=false", name).status == 25


@pytest.mark.skipif(program("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_pushes(host, store, tmp_path, form):
    archive = images.write_oci_archive(tmp_path / "x.tar", PICTURE)
    name = f"{host}/x:1"
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"--format={form}"]
    subprocess.run([*command, f"oci-archive:{archive}", f"docker://{name}"], check=True)
    raw = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}"], check=True, capture_output=True
    ).stdout
    assert store.ok("inspect", "--tls-verify=false", "--raw", f"docker://{name}").out == raw
    assert store.ok("pull", "--tls-verify=false", name).text.split()[0] == f"sha256:{hashlib.sha256(raw).hexdigest()}"


def test_every_kind_of_upload(host, tmp_path):
    data = os.urandom(1_000_000)
    digest = Digest.of(data)
    with access(tmp_path) as opened:
        for path, chunk in (("one", 0), ("two", 300_000), ("three", 1_000_000)):
            repository = opened.to_write(DockerReference.parse(f"{host}/{path}"))
            assert head_blob(repository, digest) is None
            upload(repository, digest, len(data), BytesBlob(data), chunk)
            assert head_blob(repository, digest) == len(data)
        upload(repository, Digest.of(b""), 0, BytesBlob(b""))
        repository = opened.to_write(DockerReference.parse(f"{host}/four"))
        assert mount(repository, digest, "one")
        assert not mount(repository, Digest.of(b"nobody has this"), "one")
        with RemoteBlob(repository, digest, len(data)) as blob:
            assert blob.read() == data


def test_referrers_of_a_registry_without_a_list(host, tmp_path):
    with access(tmp_path) as opened:
        repository = opened.to_write(DockerReference.parse(f"{host}/a"))
        push(repository, PICTURE, "1")
        subject = {"mediaType": PICTURE.media_type, "digest": PICTURE.digest, "size": len(PICTURE.manifest)}
        artifact = images.image(
            *PICTURE.layers, edit_manifest=lambda one: one.update(subject=subject, artifactType="x/y")
        )
        upload(repository, Digest(artifact.config_digest), len(artifact.config), BytesBlob(artifact.config))
        put_referrer(repository, artifact.digest, artifact.media_type, artifact.manifest)
        (found,), by_api = list_referrers(repository, Digest(PICTURE.digest))
        assert (found.digest, found.artifact_type, by_api) == (artifact.digest, "x/y", False)


@pytest.mark.skipif(program("htpasswd") is None, reason="htpasswd is not installed")
def test_tls_and_passwords(store, tmp_path):
    pki, certificates = tmp_path / "pki", tmp_path / "certs"
    pki.mkdir()
    certificates.mkdir()
    authority = Authority(pki)
    certificate, key = authority.issue("localhost")
    words = [str(program("htpasswd")), "-Bbn", "me", "secret"]
    (tmp_path / "htpasswd").write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
    more = f"  tls: {{certificate: {certificate}, key: {key}, clientcas: [{authority.ca}]}}\n"
    more += f"auth:\n  htpasswd: {{realm: test, path: {tmp_path / 'htpasswd'}}}\n"
    shutil.copy(authority.ca, certificates / "ca.crt")
    with dockerregistry.served(tmp_path, more) as host:
        tls = ("--cert-dir", str(certificates))
        environment = {"XDG_RUNTIME_DIR": str(tmp_path / "runtime"), "HOME": str(tmp_path)}
        login = ("login", "--username", "me", "--password-stdin", *tls, host)
        done = store.run(*login, data=b"secret", **environment)
        assert done.status == 22, done.err  # without a client certificate
        # A certificate of another CA comes first by name: the registry says which CA it wants, and gets the right one.
        (pki / "other").mkdir()
        pairs = {"another": Authority(pki / "other", "another CA").issue("me"), "me": (certificate, key)}
        for name, pair in pairs.items():
            shutil.copy(pair[0], certificates / f"{name}.cert")
            shutil.copy(pair[1], certificates / f"{name}.key")
        assert store.run(*login, data=b"wrong", **environment).status == 24
        assert store.run(*login, data=b"secret", **environment).status == 0
        credential = Credential("me", "secret")
        with access(tmp_path, tls_verify=None, cert_dir=str(certificates), credential=credential) as opened:
            repository = opened.to_write(DockerReference.parse(f"{host}/a"))
            push(repository, PICTURE, "1")
            assert list_tags(repository) == ["1"]
        if program("skopeo") is not None:
            words = ["skopeo", "list-tags", "--cert-dir", certificates, "--creds", "me:secret", f"docker://{host}/a"]
            assert json.loads(subprocess.run(words, check=True, capture_output=True).stdout)["Tags"] == ["1"]
        assert store.run("pull", *tls, f"{host}/a:1", **environment).status == 0
        assert store.run("pull", *tls, "--no-creds", f"{host}/a:1", **environment).status == 24
        assert store.run("pull", f"{host}/a:1", **environment).status == 22


def test_tokens(store, tmp_path):
    authority = Authority(tmp_path)
    issued = Auth(users={"me": "secret"}, tokens=True, anonymous=True, sign=authority.token)
    with registries.served(issued) as tokens:
        more = f"auth:\n  token: {{realm: '{tokens.url}/token', service: test, issuer: tests, "
        more += f"rootcertbundle: {authority.ca}}}\n"
        with dockerregistry.served(tmp_path, more) as host:
            with access(tmp_path, credential=Credential("me", "secret")) as opened:
                repository = opened.to_write(DockerReference.parse(f"{host}/a/b"))
                push(repository, PICTURE, "1", 1000)
                other = opened.to_write(DockerReference.parse(f"{host}/c"))
                assert mount(other, Digest(PICTURE.config_digest), "a/b")
            scopes = [one.query["scope"] for one in tokens.asked(pattern="/token")]
            assert scopes[0] == ["repository:a/b:pull,push"]
            assert scopes[-1] == ["repository:c:pull,push", "repository:a/b:pull"]
            # Without credentials, pulling is allowed, but not pushing or deleting.
            assert store.run("pull", "--tls-verify=false", f"{host}/a/b:1").status == 0
            assert store.run("delete", "--tls-verify=false", f"docker://{host}/a/b:1").status == 24
            creds = ("--tls-verify=false", "--creds", "me:secret")
            assert store.run("delete", *creds, f"docker://{host}/a/b:1").status == 0
            assert (
                store.run("list-tags", "--tls-verify=false", "--creds", "me:bad", f"docker://{host}/a/b").status == 24
            )


@pytest.mark.skipif(program("htpasswd") is None or program("skopeo") is None, reason="needs htpasswd and skopeo")
def test_credentials_are_shared_with_skopeo(store, tmp_path):
    words = [str(program("htpasswd")), "-Bbn", "me", "secret"]
    (tmp_path / "htpasswd").write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
    more = f"auth:\n  htpasswd: {{realm: test, path: {tmp_path / 'htpasswd'}}}\n"
    file = str(tmp_path / "auth.json")
    with dockerregistry.served(tmp_path, more) as host:
        login = ("login", "--username", "me", "--password-stdin", "--tls-verify=false", "--authfile", file, host)
        assert store.run(*login, data=b"secret").status == 0
        archive = images.write_oci_archive(tmp_path / "x.tar", PICTURE)
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-authfile", file]
        subprocess.run([*copy, f"oci-archive:{archive}", f"docker://{host}/x:1"], check=True)
        assert store.run("logout", "--authfile", file, host).status == 0
        words = ["skopeo", "login", "--tls-verify=false", "--authfile", file, "-u", "me", "--password-stdin", host]
        subprocess.run(words, input=b"secret", check=True, capture_output=True)
        done = store.run("pull", "--tls-verify=false", "--authfile", file, f"{host}/x:1")
        assert (done.status, done.text) == (0, f"{PICTURE.digest} {host}/x:1\n")
        assert store.run("login", "--get-login", "--authfile", file, host).text == "me\n"
