"""`policy check` and `policy explain`."""

import json
import os

import pytest
from decisions import material
from decisions.making import APP

from arstore.cli.registries.options import PREFIX

KEPT = material.load()
ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Signed images and keys, and a user and a host without any policy."""
    KEPT.write_keys(tmp_path / "keys")
    for name in ("bare", "sigstore", "bad-and-good", "other-digest", "instance-only", "index-only", "index-unsigned"):
        KEPT.fixtures[name].write(tmp_path / "dir" / name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("arstore.trust.policy_file.SYSTEM", str(tmp_path / "etc/policy.json"))
    return tmp_path


def written(place, *default, name="policy.json", **transports):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"default": list(default) or [REJECT], "transports": transports}))
    return path


def key(place, identity, name="p256.pub"):
    return {"type": "sigstoreSigned", "keyPath": str(place / "keys" / name), "signedIdentity": identity}


def exact(name=APP):
    return {"type": "exactRepository", "dockerRepository": name}


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_lists_what_a_policy_says(storeless, place):
    path = written(place, docker={"r.example/a": [ACCEPT], "": [key(place, {"type": "matchRepository"})]})
    said = storeless.ok("policy", "check", path)
    assert said.text.splitlines() == [
        "default",
        "  reject",
        "docker:r.example/a",
        "  insecureAcceptAnything",
        "docker: (all others)",
        f"  sigstoreSigned keyPath {place}/keys/p256.pub (matchRepository)",
    ]
    document = storeless.ok("policy", "check", path, "--json").json
    assert document["policy"] == str(path)
    assert document["lists"][0] == {"transport": None, "scope": None, "requirements": ["reject"]}
    assert [one["scope"] for one in document["lists"]] == [None, "r.example/a", ""]
    assert document["doubts"] == document["keys"] == []


def test_check_says_what_is_odd(storeless, place):
    said = storeless.ok("policy", "check", written(place, dockr={"": [REJECT]}, docker={"x/y": [REJECT]}))
    assert "! transports.dockr: the transport is unknown, so the section never applies" in said.text
    assert "! transports.docker.'x/y': is not an expanded name; write 'docker.io/x/y'" in said.text


@pytest.mark.parametrize("make", [lambda path: None, os.mkfifo, os.mkdir, lambda path: path.write_text("no key")])
def test_check_looks_into_key_files(storeless, place, make):
    make(place / "keys" / "odd.pub")
    path = written(place, ACCEPT, docker={"": [key(place, exact(), "odd.pub"), key(place, exact())]})
    said = storeless("policy", "check", path)
    assert said.status == 57
    assert "one requirement has keys that cannot be used" in said.err
    assert f"! transports.docker.''[0]: {place}/keys/odd.pub: " in said.text
    found = storeless("policy", "check", path, "--json")
    assert [one["place"] for one in found.json["keys"]] == ["transports.docker.''[0]"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b'{"default":[{"type":"reject"}]', "not valid JSON"),
        (b'{"default":[{"type":"reject"}]}\0', "not valid JSON"),
        (b'\xef\xbb\xbf{"default":[{"type":"reject"}]}', "byte order mark"),
        (b'{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}', "twice"),
        (b'{"default":[{"type":"rejekt"}]}', "the requirement type 'rejekt' is unknown"),
    ],
)
def test_check_refuses_a_bad_file(storeless, place, content, why):
    (place / "bad").write_bytes(content)
    said = storeless("policy", "check", place / "bad")
    assert (said.status, said.out) == (58, b"")
    assert why in said.err
    assert len(said.err.splitlines()) == 1
    refused = storeless("policy", "explain", "--policy", place / "bad", place / "dir/bare")
    assert (refused.status, refused.out) == (58, b"")


def test_check_does_not_wait_for_a_fifo(storeless, place):
    os.mkfifo(place / "fifo")
    said = storeless("policy", "check", place / "fifo")
    assert said.status == 58
    assert "is not a regular file" in said.err


def test_check_takes_the_policy_that_holds(storeless, place):
    said = storeless("policy", "check")
    assert said.status == 3
    assert "every image is accepted" in said.err
    written(place, name="etc/policy.json")
    assert "default" in storeless.ok("policy", "check").text
    written(place, ACCEPT, name="home/.config/containers/policy.json")
    assert "insecureAcceptAnything" in storeless.ok("policy", "check").text


# --- explain --------------------------------------------------------------------------------------------------------


def test_explain_what_is_accepted(storeless, place):
    path = written(place, dir={f"{place}/dir": [key(place, exact("registry.example:5000/team/sigstore"), "k1.pub")]})
    said = storeless.ok("policy", "explain", "--policy", path, f"dir:{place}/dir/sigstore")
    lines = said.text.splitlines()
    assert lines[0] == "sigstore:latest: accepted"
    assert f"  asked as  dir:{place}/dir/sigstore" in lines
    assert f"  list      transports.dir.'{place}/dir'" in lines
    assert lines[-2].endswith(": holds")
    assert lines[-1].endswith(": good")


def test_explain_what_is_rejected(storeless, place):
    path = written(place, key(place, exact(), "k1.pub"))
    said = storeless("policy", "explain", "--policy", path, place / "dir/other-digest")
    assert said.status == 21
    assert "other-digest:latest: rejected" in said.text
    assert len(said.err.splitlines()) == 1
    assert "default: requirement 1, sigstoreSigned keyPath" in said.err
    assert "the signature is for sha256:" in said.err


def test_explain_as_json(storeless, place):
    path = written(place, REJECT, ACCEPT)
    said = storeless("policy", "explain", "--json", "--policy", path, place / "dir/bare")
    assert said.status == 21
    (one,) = said.json["images"]
    assert said.json["accepted"] is False
    assert (one["names"], one["section"], one["accepted"]) == (["bare:latest"], "default", False)
    assert [outcome["accepted"] for outcome in one["outcomes"]] == [False, True]
    assert said.error["exit_code"] == 21


def test_explain_without_a_policy(storeless, place):
    said = storeless.ok("policy", "explain", place / "dir/bare")
    assert "every image is accepted" in said.text
    assert storeless("policy", "explain", "--require-signatures", place / "dir/bare").status == 21
    path = written(place, ACCEPT)
    storeless.ok("policy", "explain", "--policy", path, place / "dir/bare")
    assert storeless("policy", "explain", "--policy", path, "--require-signatures", place / "dir/bare").status == 21


@pytest.mark.parametrize(("name", "status"), [("instance-only", 0), ("index-only", 0), ("index-unsigned", 21)])
def test_explain_an_image_of_an_index(storeless, place, name, status):
    path = written(place, key(place, exact(f"registry.example:5000/lists/{name}")))
    words = ("policy", "explain", "--policy", path, "--platform", "linux/amd64", place / "dir" / name)
    assert storeless(*words).status == status


def test_explain_every_image_of_an_index(storeless, place):
    path = written(place, key(place, exact("registry.example:5000/lists/index-only")))
    words = ("policy", "explain", "--policy", path, "--all-platforms", "--json")
    assert len(storeless.ok(*words, place / "dir/index-only").json["images"]) == 2
    path = written(place, key(place, exact("registry.example:5000/lists/instance-only")))
    said = storeless("policy", "explain", "--policy", path, "--all-platforms", "--json", place / "dir/instance-only")
    assert said.status == 21
    assert sorted(one["accepted"] for one in said.json["images"]) == [False, True]


def test_explain_wants_one_kind_of_platforms(storeless, place):
    words = ("policy", "explain", "--platform", "linux/amd64", "--all-platforms", place / "dir/bare")
    assert storeless(*words).status == 2


def test_explain_asks_a_registry_by_its_name(storeless, place):
    said = storeless("policy", "explain", f"{PREFIX}127.0.0.1:1/x:1")
    assert said.status == 22
