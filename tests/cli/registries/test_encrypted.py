"""Encrypted images in a registry: pushed by arstore, pulled with a key and without."""

import json

import pytest
from support import encryption as made
from support import images
from support import registry as registries
from support.cli import Arstore
from support.encryption import rsa_key
from support.registry_user import become_unconfigured

PICTURE = images.example(names=["app:1"])
INSECURE = "--tls-verify=false"


@pytest.fixture
def server():
    with registries.served() as served:
        yield served


@pytest.fixture
def store(tmp_path, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    return Arstore(tmp_path / "store", tmp_path / "run")


@pytest.fixture
def key(tmp_path):
    return made.write(tmp_path, "rsa", rsa_key())


def blobs(document):
    return [layer["digest"] for layer in document["images"][0]["layers"]]


def test_what_is_pushed_encrypted_is_pulled_with_the_key(server, store, key, tmp_path):
    store.ok("import", images.write_oci_archive(tmp_path / "app.tar", PICTURE))
    name = f"docker://{server.host}/team/app:1"
    pushed = store.json("push", INSECURE, "--encryption-key", f"jwe:{key[1]}", "app:1", name)
    assert not set(blobs(pushed)) & {layer.digest for layer in PICTURE.layers}
    other = Arstore(tmp_path / "other", tmp_path / "run2")
    done = other.run("pull", INSECURE, name)
    assert done.status == 59
    assert "for 1 key of jwe (RSA-OAEP)" in done.err
    pulled = other.json("pull", INSECURE, "--decryption-key", str(key[0]), name)
    assert blobs(pulled) == [layer.digest for layer in PICTURE.layers]
    assert other.ok("check").status == 0
    assert json.loads(other.ok("images", "--json").out)[0]["digest"] == pulled["images"][0]["digest"]


@pytest.mark.parametrize("which", [(0, 1, 2), (1,)])
def test_a_layer_that_breaks_off_is_gone_on_with(server, store, key, which):
    locked = made.picture(PICTURE, rsa_key(), which=which)
    server.put_image("a/b", "1", locked)
    for layer in locked.layers:
        server.fault("GET", layer.digest, cut=len(layer.blob) // 2)
    pulled = store.json("pull", INSECURE, "--decryption-key", str(key[0]), f"{server.host}/a/b:1")
    assert blobs(pulled) == [layer.digest for layer in PICTURE.layers]
    assert len([one for one in server.log if "range" in one.headers]) == len(locked.layers)


def test_a_layer_that_is_another_one(server, store, key):
    locked = made.picture(PICTURE, rsa_key())
    server.put_image("a/b", "1", locked)
    server.fault("GET", locked.layers[0].digest, change=swapped)
    line = store.fails("DigestMismatch", "pull", INSECURE, "--decryption-key", str(key[0]), f"{server.host}/a/b:1")
    assert locked.layers[0].digest in line
    assert store.run("images").status == 33


def swapped(reply):
    reply.body = bytes(len(reply.body))
    return reply
