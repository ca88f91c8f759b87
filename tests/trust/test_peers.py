"""cosign, skopeo and podman accept arstore's signatures, and arstore accepts theirs. Needs those programs."""

from __future__ import annotations

import gzip
import hashlib
import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from support import dockerregistry, peers
from support.gpg import Gpg

from arstore.digest import Digest
from arstore.errors import SignatureError
from arstore.trust import cosign, dir_file
from arstore.trust.keys import read_public_key
from arstore.trust.openpgp.sign import sign as sign_openpgp
from arstore.trust.openpgp.verify import opened, verify_statement
from arstore.trust.signing.private import KINDS, make_private_key, private_pem, read_private_key
from arstore.trust.signing.sign import sign_bundle, sign_image, statement_about
from arstore.trust.sigstore.bundle import verify_bundle
from arstore.trust.sigstore.verify import verify_with_keys

if TYPE_CHECKING:
    from pathlib import Path

_SECRET = "secret"
_INSECURE = ("--allow-http-registry", "--allow-insecure-registry")
_INDEX = "application/vnd.oci.image.index.v1+json"


class _Registry:
    """docker-registry with one image, `app:1`."""

    def __init__(self, host: str, layout: Path) -> None:
        self.host = host
        self.name = f"{host}/app:1"
        self.base = f"http://{host}/v2/app"
        peers.skopeo_copy(f"oci:{layout}:x", f"docker://{self.name}", "--dest-tls-verify=false")
        self.manifest = self.get("manifests/1", cosign.MANIFEST)
        self.digest = Digest.of(self.manifest)

    def get(self, path: str, accept: str = "*/*") -> bytes:
        request = urllib.request.Request(f"{self.base}/{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def put(self, carrier: cosign.Carrier, tag: str) -> None:
        for blob in carrier.blobs:
            begun = self._send("POST", f"{self.base}/blobs/uploads/", b"", "")
            mark = "&" if "?" in begun else "?"
            self._send("PUT", f"{begun}{mark}digest={Digest.of(blob)}", blob, "application/octet-stream")
        self._send("PUT", f"{self.base}/manifests/{tag}", carrier.manifest, cosign.MANIFEST)

    def put_index(self, carrier: cosign.Carrier) -> None:
        """List a referrer under the tag that replaces the referrers API."""
        entry = {"mediaType": cosign.MANIFEST, "digest": carrier.digest, "size": len(carrier.manifest)}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry | {"artifactType": cosign.BUNDLE}]}
        tag = f"{self.digest.algorithm}-{self.digest.hex}"
        self._send("PUT", f"{self.base}/manifests/{tag}", json.dumps(index).encode(), _INDEX)

    def _send(self, method: str, url: str, data: bytes, kind: str) -> str:
        request = urllib.request.Request(url, data, {"Content-Type": kind} if kind else {}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers.get("Location", "")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A small image in an OCI layout, as `x`."""
    place = tmp_path_factory.mktemp("layout")
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data, kind):
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(data)}

    tar = bytes(10240)
    layer = put(gzip.compress(tar, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    roots = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": roots}).encode()
    document = {"schemaVersion": 2, "mediaType": cosign.MANIFEST, "layers": [layer]}
    document["config"] = put(config, "application/vnd.oci.image.config.v1+json")
    entry = put(json.dumps(document).encode(), cosign.MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return place


@pytest.fixture
def registry(tmp_path, layout):
    peers.need("docker-registry", "skopeo", "cosign")
    with dockerregistry.served(tmp_path) as host:
        yield _Registry(host, layout)


def _cosign(*words):
    return peers.run("cosign", *words, environment={"COSIGN_PASSWORD": _SECRET})


def _cosign_verify(registry, key, *options):
    return _cosign("verify", "--key", key, "--insecure-ignore-tlog=true", *_INSECURE, *options, registry.name)


def _skopeo_takes(registry, place, requirement):
    """Copy the image by skopeo under a policy that asks for *requirement* with its default identity."""
    scope = {registry.host: [requirement]}
    policy = {"default": [{"type": "reject"}], "transports": {"docker": scope}}
    (place / "policy.json").write_text(json.dumps(policy))
    attachments = place / "registries.d"
    attachments.mkdir(exist_ok=True)
    (attachments / "a.yaml").write_text("default-docker: {use-sigstore-attachments: true}")
    words = ("--policy", place / "policy.json", "--registries.d", attachments)
    copied = f"dir:{place / 'copied'}"
    peers.run("skopeo", *words, "copy", "-q", "--src-tls-verify=false", f"docker://{registry.name}", copied)


@pytest.mark.parametrize("kind", KINDS)
def test_cosign_and_skopeo_take_our_signature(registry, tmp_path, kind):
    key = make_private_key(kind)
    (tmp_path / "key.pub").write_bytes(key.public.pem())
    carrier = cosign.carry([sign_image(key, registry.digest, registry.name)])
    registry.put(carrier, cosign.tag_of(registry.digest))
    said = _cosign_verify(registry, tmp_path / "key.pub")
    assert registry.digest in said
    _skopeo_takes(registry, tmp_path, {"type": "sigstoreSigned", "keyPath": str(tmp_path / "key.pub")})


@pytest.mark.parametrize("kind", KINDS)
def test_cosign_takes_our_bundle(registry, tmp_path, kind):
    key = make_private_key(kind)
    (tmp_path / "key.pub").write_bytes(key.public.pem())
    carrier = cosign.carry_bundle(sign_bundle(key, registry.digest), cosign.MANIFEST, registry.manifest)
    registry.put(carrier, carrier.digest)
    registry.put_index(carrier)
    assert registry.digest in _cosign_verify(registry, tmp_path / "key.pub", "--new-bundle-format=true")
    with pytest.raises(peers.PeerError):
        _skopeo_takes(registry, tmp_path, {"type": "sigstoreSigned", "keyPath": str(tmp_path / "key.pub")})


def test_our_signature_stands_beside_cosigns(registry, tmp_path):
    _cosign("generate-key-pair", "--output-key-prefix", tmp_path / "theirs")
    _sign(registry, tmp_path / "theirs.key", bundle=False)
    key = make_private_key("ecdsa-p256")
    (tmp_path / "ours.pub").write_bytes(key.public.pem())
    tag = cosign.tag_of(registry.digest)
    there = registry.get(f"manifests/{tag}", cosign.MANIFEST)
    registry.put(cosign.add(there, sign_image(key, registry.digest, registry.name)), tag)
    for name in ("theirs", "ours"):
        assert registry.digest in _cosign_verify(registry, tmp_path / f"{name}.pub")


def _sign(registry, key, *, bundle):
    form = f"--new-bundle-format={str(bundle).lower()}"
    words = ("--tlog-upload=false", "--use-signing-config=false", form, *_INSECURE, "--yes")
    _cosign("sign", "--key", key, *words, registry.name)


@pytest.mark.parametrize("kind", ["", "ecdsa-p384", "ed25519"])
def test_what_cosign_signs(registry, tmp_path, kind):
    """With a key of cosign, and with an imported one of ours: other tools cannot verify its Ed25519 signatures."""
    prefix = tmp_path / "key"
    if kind:
        (tmp_path / "plain.key").write_bytes(private_pem(make_private_key(kind), None))
        _cosign("import-key-pair", "--key", tmp_path / "plain.key", "--output-key-prefix", prefix)
    else:
        _cosign("generate-key-pair", "--output-key-prefix", prefix)
    key = read_public_key((tmp_path / "key.pub").read_bytes(), "key.pub")
    for bundle in (False, True):
        _sign(registry, tmp_path / "key.key", bundle=bundle)
    manifest = registry.get(f"manifests/{cosign.tag_of(registry.digest)}", cosign.MANIFEST)
    (slot,) = cosign.read_slots(manifest)
    legacy = cosign.signature_in(slot, registry.get(f"blobs/{slot.digest}"))
    (bundled,) = _bundles(registry)
    if kind == "ed25519":
        for verify in (lambda: verify_with_keys(legacy, [key]), lambda: verify_bundle(bundled, [key])):
            with pytest.raises(SignatureError, match="Ed25519ph"):
                verify()
        return
    found = verify_with_keys(legacy, [key])
    assert (found.digest, found.reference) == (registry.digest, registry.name.removesuffix(":1"))
    assert verify_bundle(bundled, [key]).subjects == (registry.digest,)


def _bundles(registry):
    tag = f"{registry.digest.algorithm}-{registry.digest.hex}"
    for entry in json.loads(registry.get(f"manifests/{tag}", _INDEX))["manifests"]:
        manifest = registry.get(f"manifests/{entry['digest']}", cosign.MANIFEST)
        for slot in cosign.read_bundle_slots(manifest):
            yield cosign.signature_in(slot, registry.get(f"blobs/{slot.digest}"))


def test_what_skopeo_signs_with_cosigns_key(tmp_path, layout):
    peers.need("skopeo", "cosign")
    _cosign("generate-key-pair", "--output-key-prefix", tmp_path / "key")
    (tmp_path / "secret").write_text(_SECRET)
    words = (
        "--sign-by-sigstore-private-key",
        str(tmp_path / "key.key"),
        "--sign-passphrase-file",
        str(tmp_path / "secret"),
    )
    name = "example.org/app:1"
    peers.skopeo_copy(f"oci:{layout}:x", f"dir:{tmp_path}/dir", *words, "--sign-identity", name)
    digest = Digest.of((tmp_path / "dir" / "manifest.json").read_bytes())
    key = read_public_key((tmp_path / "key.pub").read_bytes(), "key.pub")
    signature = dir_file.read_file((tmp_path / "dir" / "signature-1").read_bytes())
    found = verify_with_keys(signature, [key])
    assert (found.digest, found.reference) == (digest, name)


def test_cosigns_key_file_signs_for_us(registry, tmp_path):
    pytest.importorskip("nacl")
    _cosign("generate-key-pair", "--output-key-prefix", tmp_path / "key")
    key = read_private_key((tmp_path / "key.key").read_bytes(), "key.key", lambda: _SECRET.encode())
    registry.put(cosign.carry([sign_image(key, registry.digest, registry.name)]), cosign.tag_of(registry.digest))
    assert registry.digest in _cosign_verify(registry, tmp_path / "key.pub")


def test_simple_signing_both_ways(tmp_path, layout):
    peers.need("skopeo", "gpg")
    gpg = Gpg(tmp_path / "g")
    try:
        gpg.new_key("signer@example.org")
        fingerprint = gpg.fingerprint("signer@example.org")
        public = gpg.public("signer@example.org")
        name = "example.org/app:1"
        peers.skopeo_copy(f"oci:{layout}:x", f"dir:{tmp_path}/dir")
        digest = Digest.of((tmp_path / "dir" / "manifest.json").read_bytes())
        ours = sign_openpgp(statement_about(digest, name), fingerprint, b"", gpg.environ)
        (tmp_path / "ours").write_bytes(ours.blob)
        (tmp_path / "key.gpg").write_bytes(public)
        manifest = tmp_path / "dir" / "manifest.json"
        if "--public-key-file" not in peers.run("skopeo", "standalone-verify", "--help"):
            pytest.skip("this skopeo verifies with the keys of gpg's own home only")
        words = ("standalone-verify", "--public-key-file", tmp_path / "key.gpg", manifest, name, fingerprint)
        assert digest in peers.run("skopeo", *words, tmp_path / "ours")
        _check_theirs(gpg, tmp_path, manifest, name, fingerprint, digest)
    finally:
        gpg.close()


def _check_theirs(gpg, place, manifest, name, fingerprint, digest):
    words = ("standalone-sign", manifest, name, fingerprint, "--output", place / "theirs")
    try:
        peers.run("skopeo", *words, environment={"GNUPGHOME": str(gpg.home)})
    except peers.PeerError as error:
        pytest.skip(f"skopeo does not sign with this gpg: {str(error)[-200:]}")
    with opened([gpg.public("signer@example.org")]) as keys:
        found, signer = verify_statement((place / "theirs").read_bytes(), keys)
    assert (found.digest, found.reference, signer) == (digest, name, fingerprint)
