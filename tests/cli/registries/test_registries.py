"""Commands on registries: output and exit statuses. A separate process pulls the images."""

import base64
import json
import os

import pytest
from support import images
from support import registry as registries
from support.cli import Arstore
from support.registry import Auth
from support.registry_user import become_unconfigured

PICTURE = images.example()
OTHER = images.example(compression="none")
INSECURE = "--tls-verify=false"


@pytest.fixture
def server():
    with registries.served() as served:
        served.put_image("a/b", "1", PICTURE)
        yield served


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A user without any configuration."""
    become_unconfigured(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def store(places):
    return Arstore(places / "store", places / "run")


def entry(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_pull(server, store):
    name = f"{server.host}/a/b:1"
    done = store.run("pull", INSECURE, "--json", name)
    assert done.status == 0, done.err
    (image,) = done.json["images"]
    assert (image["digest"], image["names"]) == (PICTURE.digest, [name])
    assert store.run("inspect", "--raw", name).out == PICTURE.manifest
    before = len(server.log)
    done = store.run("import", INSECURE, f"docker://{name}")
    assert done.text == f"{PICTURE.digest} {name}\n"
    # Of an image that the store has, only the manifest is requested again, after a ping.
    assert [one.path.split("/")[-2] for one in server.log[before:]] == ["v2", "manifests"]
    assert store.run("check").status == 0


def test_pull_by_digest_and_under_another_name(server, store):
    done = store.run("pull", INSECURE, "--name", "mine:2", f"docker://{server.host}/a/b@{PICTURE.digest}")
    assert done.text == f"{PICTURE.digest} mine:2\n"


def test_a_layer_that_breaks_off_is_gone_on_with(server, store):
    for layer in PICTURE.layers:
        server.fault("GET", layer.digest, cut=len(layer.blob) // 2)
    done = store.run("pull", INSECURE, f"{server.host}/a/b:1")
    assert done.status == 0, done.err
    assert len([one for one in server.log if "range" in one.headers]) == len(PICTURE.layers)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ({"body": b"x"}, 13, "SizeMismatch"),
        ({"change": lambda reply: swapped(reply)}, 12, "DigestMismatch"),
        ({"before": True, "status": 404}, 16, "MissingBlob"),
        ({"before": True, "status": 403}, 24, "RegistryAccess"),
        ({"before": True, "status": 418}, 23, "RegistryAnswer"),
    ],
)
def test_a_layer_that_does_not_come_leaves_the_store_as_it_was(server, store, fault, status, kind):
    server.fault("GET", PICTURE.layers[1].digest, times=99, **fault)
    done = store.run("pull", INSECURE, "--json", f"{server.host}/a/b:1")
    assert (done.status, json.loads(done.err.splitlines()[-1])["error"]["kind"]) == (status, kind)
    assert not os.path.exists(store.root / "arstore.json") or store.run("images", "--json").json == []


def swapped(reply):
    reply.body = bytes(len(reply.body))
    return reply


def test_what_is_not_there(server, store):
    done = store.run("pull", INSECURE, f"{server.host}/a/b:2")
    assert (done.status, done.err.count("\n")) == (25, 1)
    assert "MANIFEST_UNKNOWN" in done.err
    done = store.run("pull", f"{server.host}/a/b:1")
    assert done.status == 22
    done = store.run("pull", INSECURE, "127.0.0.1:1/a")
    assert done.status == 22


def test_blocked(server, store, places):
    (places / "registries.conf").write_text(f'[[registry]]\nlocation = "{server.host}"\nblocked = true\n')
    for words in (("pull",), ("list-tags",), ("delete",), ("inspect",)):
        done = store.run(*words, INSECURE, f"docker://{server.host}/a/b")
        assert done.status == 26, done.err
    assert server.log == []


def test_short_names(server, store, places):
    (places / "registries.conf").write_text(
        f'unqualified-search-registries = ["127.0.0.1:1", "{server.host}"]\n'
        f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n[aliases]\nshort = "{server.host}/a/b"\n'
    )
    assert store.run("pull", "short:1").text == f"{PICTURE.digest} {server.host}/a/b:1\n"
    assert store.run("pull", "a/b:1").status == 0
    done = store.run("pull", "a/c:1")
    assert done.status == 25
    assert "127.0.0.1:1" in done.err


def test_without_a_registry_to_search(store):
    done = store.run("pull", "busybox")
    assert done.status == 5
    assert "docker.io/busybox" in done.err


@pytest.mark.parametrize("words", [("oci:/x",), ("docker://",), ("docker://A",), ("",)])
def test_names_that_are_none(store, words):
    assert store.run("pull", *words).status in {2, 5}


def test_list_tags(server, store):
    server.put_image("a/b", "2", PICTURE)
    name = f"docker://{server.host}/a/b"
    assert store.run("list-tags", INSECURE, name).text == "1\n2\n"
    assert store.run("list-tags", INSECURE, "--json", name).json == {
        "repository": f"{server.host}/a/b",
        "tags": ["1", "2"],
    }
    assert store.run("list-tags", INSECURE, f"{name}:1").status == 2
    assert store.run("list-tags", INSECURE, f"docker://{server.host}/none").status == 25
    assert not store.root.exists()


def test_delete(server, store):
    server.put_image("a/b", "same", PICTURE)
    server.put_image("a/b", "other", OTHER)
    done = store.run("delete", INSECURE, f"docker://{server.host}/a/b:1")
    assert done.text == f"{PICTURE.digest}\n"
    assert "other tags of the same image are deleted too: same" in done.err
    assert server.tags["a/b"] == {"other": OTHER.digest}
    assert store.run("delete", INSECURE, f"docker://{server.host}/a/b:1").status == 25


def test_referrers(server, store):
    document = {
        "schemaVersion": 2,
        "mediaType": images.OCI_MANIFEST,
        "artifactType": "application/x",
        "config": {"mediaType": "application/x", "digest": PICTURE.config_digest, "size": len(PICTURE.config)},
        "layers": [],
        "subject": {"mediaType": images.OCI_MANIFEST, "digest": PICTURE.digest, "size": len(PICTURE.manifest)},
    }
    digest = server.put_manifest("a/b", json.dumps(document).encode(), images.OCI_MANIFEST)
    name = f"docker://{server.host}/a/b:1"
    found = store.run("referrers", INSECURE, "--json", name).json
    assert (found["digest"], found["by_api"]) == (PICTURE.digest, True)
    assert [one["digest"] for one in found["referrers"]] == [digest]
    assert store.run("referrers", INSECURE, "--artifact-type", "y", "--json", name).json["referrers"] == []
    assert digest in store.run("referrers", INSECURE, name).text


def test_inspect(server, store):
    name = f"docker://{server.host}/a/b:1"
    assert store.run("inspect", INSECURE, "--raw", name).out == PICTURE.manifest
    assert store.run("inspect", INSECURE, "--config", name).out == PICTURE.config
    remote = store.run("inspect", INSECURE, "--json", name).json
    assert not server.asked("GET", PICTURE.layers[0].digest)
    store.run("pull", INSECURE, name)
    local = store.run("inspect", "--json", f"{server.host}/a/b:1").json
    for one in local["layers"]:
        one["size"] = None
    for key in ("imported", "read_only", "store"):
        del local[key]
    assert remote == {**local, "size": remote["size"]}


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [False, True])
def test_login_and_logout(store, places, tokens):
    with registries.served(Auth(users={"me": "secret"}, tokens=tokens)) as server:
        server.put_image("a/b", "1", PICTURE)
        words = ("login", INSECURE, "--username", "me", "--password-stdin", server.host)
        wrong = store.run(*words, data=b"hidden\n")
        assert wrong.status == 24
        assert "hidden" not in wrong.err
        done = store.run(*words, data=b"secret\n")
        assert done.status == 0, done.err
        path = places / "xdg_runtime_dir/containers/auth.json"
        assert json.loads(path.read_text()) == {"auths": {server.host: entry("me", "secret")}}
        assert store.run("login", "--get-login", server.host).text == "me\n"
        assert store.run("pull", INSECURE, f"{server.host}/a/b:1").status == 0
        assert store.run("list-tags", INSECURE, "--no-creds", f"docker://{server.host}/a/b").status == 24
        assert store.run("logout", server.host).status == 0
        assert store.run("logout", server.host).status == 3
        assert store.run("list-tags", INSECURE, f"docker://{server.host}/a/b").status == 24
        done = store.run("list-tags", INSECURE, "--creds", "me:secret", f"docker://{server.host}/a/b")
        assert done.text == "1\n"


def test_a_login_that_cannot_be_tried_is_told(server, store):
    done = store.run("login", INSECURE, "--username", "me", "--password-stdin", server.host, data=b"x")
    assert done.status == 0
    assert "does not ask for credentials" in done.err


@pytest.mark.parametrize(
    ("words", "data", "status"),
    [
        (("login", "h.example"), b"", 2),
        (("login", "--password-stdin", "h.example"), b"x", 2),
        (("login", "--username", "a:b", "--password-stdin", "h.example"), b"x", 2),
        (("login", "--username", "a", "--password-stdin", "h.example"), b"", 2),
        (("login", "--username", "a", "--password-stdin", "https://h.example"), b"x", 5),
        (("login", "--get-login", "h.example"), b"", 24),
        (("logout",), b"", 2),
        (("logout", "--all", "h.example"), b"", 2),
        (("list-tags", "--creds", "nocolon", "docker://h.example/a"), b"", 2),
        (("list-tags", "--creds", "a:b", "--no-creds", "docker://h.example/a"), b"", 2),
    ],
)
def test_what_makes_no_sense(store, words, data, status):
    done = store.run(*words, data=data)
    assert (done.status, done.err.count("\n")) == (status, 1)
    assert not store.root.exists()


def test_a_file_that_is_wrong(server, store, places):
    (places / "auth").write_text("{")
    done = store.run("pull", INSECURE, "--authfile", str(places / "auth"), f"{server.host}/a/b:1")
    assert (done.status, str(places / "auth") in done.err) == (27, True)
