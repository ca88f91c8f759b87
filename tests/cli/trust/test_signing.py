"""`sign`, and copies that are signed on the way: the signatures are valid, and stay with the image."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support import images, registry_user
from support import registry as registries
from support import signed as signing

from arstore.errors import ConversionError, RejectedError, UsageError

PICTURE = images.example(names=["example.com/team/app:1"])


@pytest.fixture
def keys(arstore, tmp_path):
    arstore.ok("keygen", "--no-passphrase", tmp_path / "one")
    arstore.ok("keygen", "--no-passphrase", tmp_path / "two")
    return {name: tmp_path / name for name in ("one.key", "one.pub", "two.key", "two.pub")}


@pytest.fixture
def policies(tmp_path, keys):
    """Policies that require a signature by each key."""
    return {
        name: signing.policy(
            tmp_path / f"{name}.json",
            [
                {
                    "type": "sigstoreSigned",
                    "keyPath": str(keys[f"{name}.pub"]),
                    "signedIdentity": {"type": "exactReference", "dockerReference": "example.com/team/app:1"},
                }
            ],
        )
        for name in ("one", "two")
    }


@pytest.fixture
def archive(tmp_path):
    return images.write_oci_archive(tmp_path / "app.tar", PICTURE)


def accepts(arstore, policy, source):
    status = arstore("copy", "--policy", policy, source, f"oci-archive:{policy}.out").status
    assert status in {0, RejectedError.exit_code}
    return status == 0


def test_a_signed_image_is_carried_signed(arstore, archive, keys, policies, tmp_path):
    arstore.ok("import", archive)
    assert not accepts(arstore, policies["one"], "store:example.com/team/app:1")
    assert arstore.ok("sign", "--key", keys["one.key"], "example.com/team/app:1").text.strip() == PICTURE.digest
    assert accepts(arstore, policies["one"], "store:example.com/team/app:1")
    assert not accepts(arstore, policies["two"], "store:example.com/team/app:1")
    arstore.ok("save", "example.com/team/app:1", "-o", tmp_path / "carried.tar")
    assert accepts(arstore, policies["one"], f"oci-archive:{tmp_path}/carried.tar")
    assert arstore.ok("check").status == 0


def test_two_keys_sign_one_image(arstore, archive, keys, policies):
    arstore.ok("import", archive)
    for name in ("one", "two"):
        arstore.ok("sign", "--key", keys[f"{name}.key"], "example.com/team/app:1")
    assert all(accepts(arstore, policies[name], "store:example.com/team/app:1") for name in policies)


def test_what_is_signed_twice_is_signed(arstore, archive, keys, policies):
    arstore.ok("import", archive)
    for _ in range(2):
        arstore.ok("sign", "--key", keys["one.key"], "example.com/team/app:1")
    assert accepts(arstore, policies["one"], "store:example.com/team/app:1")


@pytest.mark.parametrize("target", ["oci:{}/out", "oci-archive:{}/out.tar", "dir:{}/out"])
def test_copies_are_signed_on_their_way(arstore, archive, keys, policies, tmp_path, target):
    place = target.format(tmp_path)
    result = arstore.ok("copy", "--json", "--sign-by-key", keys["one.key"], archive, place)
    assert result.json["images"][0]["digest"] == PICTURE.digest
    assert accepts(arstore, policies["one"], place)
    assert not accepts(arstore, policies["two"], place)


def test_a_converted_copy_is_signed_as_it_is_written(arstore, archive, keys, policies, tmp_path):
    place = f"oci:{tmp_path}/out"
    words = ("--compression", "zstd", "--sign-by-key", keys["one.key"])
    result = arstore.ok("copy", "--json", *words, archive, place)
    assert result.json["images"][0]["digest"] != PICTURE.digest
    assert accepts(arstore, policies["one"], place)


def test_save_signs(arstore, archive, keys, policies, tmp_path):
    arstore.ok("import", archive)
    arstore.ok("save", "--sign-by-key", keys["one.key"], "example.com/team/app:1", "-o", tmp_path / "out.tar")
    assert accepts(arstore, policies["one"], f"oci-archive:{tmp_path}/out.tar")


def test_an_index_is_signed_with_its_images(arstore, keys, policies, tmp_path):
    arm = images.example(architecture="arm64", names=["example.com/team/app:1"])
    both = images.index(PICTURE, arm, names=["example.com/team/app:1"])
    layout = images.write_layout(tmp_path / "in", both)
    words = ("--all-platforms", "--sign-by-key", keys["one.key"])
    arstore.ok("copy", *words, layout, f"oci:{tmp_path}/out")
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    tags = [entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "") for entry in index["manifests"]]
    signed = {tag.removesuffix(".sig").replace("-", ":") for tag in tags if tag.endswith(".sig")}
    assert {both.digest, PICTURE.digest, arm.digest} <= signed
    assert accepts(arstore, policies["one"], f"oci:{tmp_path}/out")


def test_a_conversion_does_not_break_a_signature_silently(arstore, archive, keys, tmp_path):
    arstore.ok("copy", "--sign-by-key", keys["one.key"], archive, f"oci:{tmp_path}/signed")
    for words in (("--compression", "zstd", f"oci:{tmp_path}/out"), (f"docker-archive:{tmp_path}/out.tar",)):
        refused = arstore("copy", f"oci:{tmp_path}/signed", *words)
        assert refused.status == ConversionError.exit_code
        assert "--remove-signatures" in refused.err
    arstore.ok("copy", "--remove-signatures", "--compression", "zstd", f"oci:{tmp_path}/signed", f"oci:{tmp_path}/out")
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert len(index["manifests"]) == 1


def test_a_docker_archive_has_no_place_for_signatures(arstore, archive, keys, tmp_path):
    refused = arstore("copy", "--sign-by-key", keys["one.key"], archive, f"docker-archive:{tmp_path}/out.tar")
    assert refused.status == ConversionError.exit_code
    assert not (tmp_path / "out.tar").exists()


def test_an_image_without_a_name_needs_an_identity(arstore, archive, keys, policies, tmp_path):
    arstore.ok("import", archive)
    arstore.ok("untag", "example.com/team/app:1")
    words = ("copy", "--sign-by-key", keys["one.key"], f"store:{PICTURE.digest}", f"dir:{tmp_path}/out")
    assert arstore(*words).status == UsageError.exit_code
    assert arstore("sign", "--key", keys["one.key"], PICTURE.digest).status == UsageError.exit_code
    arstore.ok(*words, "--sign-identity", "example.com/team/app:1")
    assert accepts(arstore, policies["one"], f"dir:{tmp_path}/out")


@pytest.mark.parametrize(
    "words",
    [
        ("sign", "app:1"),
        ("sign", "--key", "a", "--gpg", "b", "app:1"),
        ("sign", "--gpg", "b", "--bundle", "app:1"),
        ("copy", "--sign-bundle", "a", "b"),
        ("copy", "--sign-identity", "a:1", "a", "b"),
    ],
)
def test_contradictions_are_refused(arstore, words):
    assert arstore(*words).status == UsageError.exit_code


def test_in_a_registry(arstore, archive, keys, tmp_path, monkeypatch):
    registry_user.become_unconfigured(monkeypatch, tmp_path)
    with registries.served() as server:
        name = f"{server.host}/team/app"
        arstore.ok("copy", "--tls-verify=false", archive, f"docker://{name}:1")
        arstore.ok("sign", "--tls-verify=false", "--key", keys["one.key"], f"docker://{name}:1")
        policy = signing.policy(
            tmp_path / "registry.json",
            [{"type": "reject"}],
            docker={name: [{"type": "sigstoreSigned", "keyPath": str(keys["one.pub"])}]},
        )
        arstore.ok("pull", "--tls-verify=false", "--policy", policy, f"docker://{name}:1")
        arstore.ok("sign", "--tls-verify=false", "--key", keys["two.key"], f"docker://{name}:1")
        arstore.ok("pull", "--tls-verify=false", "--policy", policy, f"docker://{name}:1")


@pytest.fixture
def gpg(tmp_path, monkeypatch):
    """The fingerprint of a key of gpg, and the file with its public half."""
    if shutil.which("gpg") is None:
        pytest.skip("needs gpg")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    make = [
        "gpg",
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "builds@example.com",
        "rsa2048",
        "sign",
        "never",
    ]
    subprocess.run(make, check=True, capture_output=True)
    (tmp_path / "builds.gpg").write_bytes(
        subprocess.run(["gpg", "--export", "builds@example.com"], check=True, capture_output=True).stdout
    )
    yield "builds@example.com", tmp_path / "builds.gpg"
    subprocess.run(["gpgconf", "--kill", "all"], check=False)


def signed_by(path, key, **transports):
    requirement = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(key)}
    return signing.policy(
        path, [{"type": "reject"}], **{name: {"": [requirement | more]} for name, more in transports.items()}
    )


def test_gpg_signs_and_the_signature_is_carried(arstore, archive, gpg, tmp_path):
    user, public = gpg
    name = {"type": "exactReference", "dockerReference": "example.com/team/app:1"}
    policy = signed_by(
        tmp_path / "gpg.json", public, oci_archive={"signedIdentity": name}, dir={"signedIdentity": name}
    )
    arstore.ok("import", archive)
    arstore.ok("sign", "--gpg", user, "example.com/team/app:1")
    for place in (f"oci-archive:{tmp_path}/out.tar", f"dir:{tmp_path}/out"):
        arstore.ok("copy", "store:example.com/team/app:1", place)
        assert accepts(arstore, policy, place)
    arstore.ok("verify", "--key", public, "example.com/team/app:1")


def test_gpg_signs_in_the_lookaside_of_a_registry(arstore, archive, gpg, tmp_path, monkeypatch):
    user, public = gpg
    registry_user.become_unconfigured(monkeypatch, tmp_path)
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))
    settings = tmp_path / "home" / ".config" / "containers" / "registries.d"
    settings.mkdir(parents=True)
    (settings / "here.yaml").write_text(f"default-docker:\n  lookaside: file://{tmp_path}/lookaside\n")
    with registries.served() as server:
        name = f"{server.host}/team/app"
        arstore.ok("copy", "--tls-verify=false", "--sign-by", user, archive, f"docker://{name}:1")
        assert [path.name for path in (tmp_path / "lookaside").rglob("signature-*")] == ["signature-1"]
        policy = signed_by(tmp_path / "gpg.json", public, docker={})
        arstore.ok("pull", "--tls-verify=false", "--policy", policy, f"docker://{name}:1")
        arstore.ok("save", "--policy", policy, f"{name}:1", "-o", tmp_path / "out.tar")
        shutil.rmtree(tmp_path / "lookaside")
        assert arstore("pull", "--tls-verify=false", "--policy", policy, f"docker://{name}:1").status == 21
