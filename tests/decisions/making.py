"""Making the material: keys, and small images that skopeo, gpg and cosign have signed."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interop.tools import FailedError, Runner
from support import dockerregistry, images

from decisions import certificates
from decisions.material import SUFFIX, Fixture, Material

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
APP = "registry.example:5000/team/app"
MIRROR = "registry.example:5000/vendor-mirror/product/app"
VENDOR = "vendor.example/product/app"
HUB = "docker.io/library/busybox"
WILD = "deep.sub.domain.example:8443/ns/app"
SIGSTORE = "registry.example:5000/team/sigstore"
PGP_USERS = ("alice", "bob", "expired", "revoked")


def pictures() -> dict[str, images.Picture | images.Collection]:
    """The images by name: two alike, one in Docker's form, and an index."""

    def one(text: str, **more: Any) -> images.Picture:
        return images.image(images.layer([images.file("who", text.encode())]), names=(f"{text}:1",), **more)

    first = one("first", architecture="amd64")
    other = one("other", architecture="s390x")
    both = images.index(first, other, names=("index:1",))
    return {"first": first, "second": one("second"), "docker": one("docker", docker=True), "index": both}


class Maker:
    """Signs with tools of *runner*; everything is below its working directory."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.work = runner.work
        self.keys: dict[str, bytes] = {}
        self._fingerprints: dict[str, str] = {}
        self._signatures: dict[tuple[str, ...], bytes] = {}
        self.pictures = pictures()
        self._layout = self.work / "layout"
        images.write_layout(self._layout, *self.pictures.values())
        self._home = {"GNUPGHOME": str(self.work / "gnupg"), "COSIGN_PASSWORD": "x"}
        (self.work / "gnupg").mkdir(mode=0o700)
        (self.work / "password").write_text("x")
        (self.work / "registries.d").mkdir()
        text = f"default-docker: {{use-sigstore-attachments: true, lookaside: 'file://{self.work}/lookaside'}}\n"
        (self.work / "registries.d/default.yaml").write_text(text)

    def run(self, *words: str | Path) -> str:
        """Run one of the tools and return its stdout."""
        return self.runner.run(*words, **self._home)

    def skopeo(self, *words: str | Path) -> str:
        """Run skopeo without a policy."""
        return self.run("skopeo", "--insecure-policy", "--registries.d", self.work / "registries.d", *words)

    def make_keys(self) -> None:
        """Make all keys except those of certificates."""
        gpg = ("gpg", "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "")
        for user in PGP_USERS:
            until = "seconds=20" if user == "expired" else "never"
            self.run(*gpg, "--quick-generate-key", f"{user} <{user}@example.com>", "ed25519", "sign", until)
            listed = self.run("gpg", "--with-colons", "--list-keys", f"{user}@example.com")
            self._fingerprints[user] = next(line for line in listed.splitlines() if line.startswith("fpr")).split(":")[
                9
            ]
        for user in PGP_USERS[:2]:
            self._keep_pgp(user)
        for name in ("k1", "k2"):
            self.run(
                "skopeo", "generate-sigstore-key", "--output-prefix", self.work / name, "--passphrase-file",
                self.work / "password",
            )  # fmt: skip
            self.keys[f"{name}.pub"] = (self.work / f"{name}.pub").read_bytes()
        self.run("sh", "-c", f"cd {self.work} && cosign generate-key-pair --output-key-prefix cosign")
        self.keys["cosign.pub"] = (self.work / "cosign.pub").read_bytes()
        self.keys |= certificates.files()
        self.keys["none.txt"] = b"this is not a key\n"
        self.keys["empty.pub"] = b""
        self.keys["two.pub"] = self.keys["k1.pub"] + self.keys["k2.pub"]

    def age_keys(self) -> None:
        """Wait until one key has expired, and revoke another. Nothing more can be signed with these."""
        home = self.work / "gnupg/openpgp-revocs.d"
        revocation = (home / f"{self._fingerprints['revoked']}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
        (self.work / "revocation").write_text(revocation)
        self.run("gpg", "--batch", "--import", self.work / "revocation")
        time.sleep(21)
        for user in PGP_USERS[2:]:
            self._keep_pgp(user)
        self.keys["alice-and-bob.gpg"] = self.keys["alice.gpg"] + self.keys["bob.gpg"]

    def _keep_pgp(self, user: str) -> None:
        path = self.work / f"{user}.gpg"
        self.run("gpg", "--batch", "--yes", "--output", path, "--export", f"{user}@example.com")
        self.keys[path.name] = path.read_bytes()

    def signed(self, image: str, signer: str, name: str) -> bytes:
        """The file of a signature: by `pgp:USER`, `skopeo:KEY`, or by `own:KEY` as `certificates` makes it."""
        known = self._signatures.get((image, signer, name))
        if known is not None:
            return known
        kind, _, key = signer.partition(":")
        if kind == "own":
            data = certificates.signed(self.pictures[image].digest, key, name)
        elif kind == "garbage":
            data = key.encode().decode("unicode_escape").encode("latin-1")
        else:
            data = self._by_skopeo(image, kind, key, name)
        self._signatures[image, signer, name] = data
        return data

    def _by_skopeo(self, image: str, kind: str, key: str, name: str) -> bytes:
        place = self.work / "signed"
        shutil.rmtree(place, ignore_errors=True)
        ways: dict[str, Sequence[str | Path]] = {
            "pgp": ("--sign-by", self._fingerprints.get(key, "")),
            "skopeo": ("--sign-by-sigstore-private-key", self.work / f"{key}.private",
                       "--sign-passphrase-file", self.work / "password"),
        }  # fmt: skip
        try:
            self.skopeo(
                "copy", "-q", *ways[kind], "--sign-identity", name, f"oci:{self._layout}:{image}:1", f"dir:{place}"
            )
        except FailedError as error:
            raise FailedError(f"{image} {kind} {key} {name}: {error}") from error
        return (place / "signature-1").read_bytes()

    def plain(self, image: str) -> dict[str, bytes]:
        """The files of the image's `dir:`, without signatures."""
        place = self.work / f"plain-{image}"
        if not place.exists():
            every = ["--all"] if image == "index" else []
            self.skopeo("copy", "-q", *every, f"oci:{self._layout}:{image}:1", f"dir:{place}")
        return {one.name: one.read_bytes() for one in sorted(place.iterdir())}

    def by_cosign(self, repository: str) -> list[bytes]:
        """The signatures that cosign makes in its old form, as skopeo copies them from a registry by tag."""
        with dockerregistry.served(self._fresh("registry")) as host:
            place = f"{host}/{repository.partition('/')[2]}"
            self.skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{self._layout}:first:1", f"docker://{place}:1")
            self.run(
                "cosign", "sign", "--yes", "--key", self.work / "cosign.key", "--tlog-upload=false",
                "--use-signing-config=false", "--new-bundle-format=false", "--allow-insecure-registry",
                "--sign-container-identity", repository, f"{place}@{self.pictures['first'].digest}",
            )  # fmt: skip
            target = self.work / "from-cosign"
            self.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{place}:1", f"dir:{target}")
        return Fixture({one.name: one.read_bytes() for one in target.iterdir()}).signatures()

    def bundle_by_cosign(self) -> bytes:
        """The bundle that cosign makes for the first image."""
        import urllib.request

        with dockerregistry.served(self._fresh("registry")) as host:
            place = f"{host}/team/bundled"
            self.skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{self._layout}:first:1", f"docker://{place}:1")
            digest = self.pictures["first"].digest
            self.run(
                "cosign", "sign", "--yes", "--key", self.work / "cosign.key", "--tlog-upload=false",
                "--use-signing-config=false", "--new-bundle-format=true", "--allow-insecure-registry",
                f"{place}@{digest}",
            )  # fmt: skip

            def got(kind: str, what: str) -> bytes:
                accept = {"Accept": f"{images.OCI_INDEX}, {images.OCI_MANIFEST}"}
                request = urllib.request.Request(f"http://{host}/v2/team/bundled/{kind}/{what}", headers=accept)
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return bytes(answer.read())

            index = json.loads(got("manifests", digest.replace(":", "-")))
            manifest = json.loads(got("manifests", index["manifests"][0]["digest"]))
            return got("blobs", manifest["layers"][0]["digest"])

    def _fresh(self, name: str) -> Path:
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place


def recipes() -> dict[str, tuple[str, str, tuple[tuple[str, str], ...]]]:
    """Each fixture: its image, its repository, and the signatures on it as signer and name."""
    one = f"{APP}:1"
    named = {
        "no-tag": APP,
        "tag-2": f"{APP}:2",
        "digest": f"{APP}@DIGEST",
        "tag-digest": f"{APP}:1@DIGEST",
        "other-repository": "registry.example:5000/team/other:1",
        "other-registry": "registry.example/team/app:1",
        "upper": "registry.example:5000/TEAM/app:1",
        "upper-host": "REGISTRY.example:5000/team/app:1",
        "short": "busybox",
        "short-tag": "busybox:latest",
        "hub-alias": "index.docker.io/library/busybox:latest",
        "empty": "",
        "garbage-name": "not a name",
        "prefix-name": "registry.example:5000/team/app-evil:1",
        "vendor": f"{VENDOR}:1",
        "vendor-2": f"{VENDOR}:2",
        "hex-name": "0" * 64,
    }
    found: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
        "bare": ("first", "registry.example:5000/team/bare", ()),
        "app": ("first", APP, (("pgp:alice", one),)),
        "sigstore": ("first", SIGSTORE, (("skopeo:k1", f"{SIGSTORE}:1"),)),
        "bob": ("first", "", (("pgp:bob", one),)),
        "expired": ("first", "", (("pgp:expired", one),)),
        "revoked": ("first", "", (("pgp:revoked", one),)),
        "bad-and-good": ("first", "", (("pgp:bob", one), ("skopeo:k2", one), ("pgp:alice", one), ("skopeo:k1", one))),
        "two-keys": ("first", "", (("pgp:alice", one), ("pgp:bob", one))),
        "only-k2": ("first", "", (("skopeo:k2", one),)),
        "docker-form": ("docker", "", (("pgp:alice", one), ("skopeo:k1", one))),
        "other-digest": ("first", "", (("pgp:alice:second", one), ("skopeo:k1:second", one))),
        "hub": ("first", HUB, (("pgp:alice", f"{HUB}:latest"),)),
        "mirror": ("first", MIRROR, (("pgp:alice", f"{VENDOR}:1"),)),
        "wild": ("first", WILD, (("pgp:alice", f"{WILD}:1"),)),
        "p384": ("first", "", (("own:p384", one),)),
        "rsa": ("first", "", (("own:rsa", one),)),
        "ed25519": ("first", "", (("own:ed25519", one),)),
        "pki": ("first", "", (("own:pki", one),)),
        "pki-expired": ("first", "", (("own:pki-expired", one),)),
        "pki-between": ("first", "", (("own:pki-between", one),)),
        "fulcio": ("first", "", (("own:fulcio", one),)),
        "fulcio-late": ("first", "", (("own:fulcio-late", one),)),
        "logged": ("first", "", (("own:logged", one),)),
        "logged-other": ("first", "", (("own:logged-other", one),)),
        "wrong-type": ("first", "", (("own:wrong-type", one),)),
        "attestation": ("first", "", (("own:attestation", one),)),
        "extra-critical": ("first", "", (("own:extra-critical", one),)),
        "duplicate-critical": ("first", "", (("own:duplicate-critical", one),)),
        "no-signature-text": ("first", "", (("own:no-signature-text", one),)),
        "armoured": ("first", "", (("garbage:-----BEGIN PGP MESSAGE-----\\n", one),)),
        "garbage-and-good": ("first", "", (("garbage:\\x00what\\nx", one), ("pgp:alice", one), ("skopeo:k1", one))),
        "truncated": ("first", "", (("pgp:alice:cut", one),)),
    }  # fmt: skip
    for label, name in named.items():
        found[f"name-{label}"] = ("first", "", (("own:p256", name),))
    for label in (
        "no-tag",
        "tag-2",
        "digest",
        "tag-digest",
        "other-repository",
        "prefix-name",
        "empty",
        "garbage-name",
    ):
        repository = f"registry.example:5000/names/{label}"
        text = named[label].replace(APP, repository)
        found[f"at-{label}"] = ("first", repository, (("own:p256", text),))
    repository = "registry.example:5000/names/plain"
    found["at-plain"] = ("first", repository, (("own:p256", f"{repository}:1"),))
    return found


def make(runner: Runner, tell: Any = print) -> Material:
    """Make everything; it takes a minute."""
    maker = Maker(runner)
    tell("keys")
    maker.make_keys()
    fixtures: dict[str, Fixture] = {}
    for label, (image, repository, signatures) in recipes().items():
        tell(label)
        files = maker.plain(image)
        for number, (signer, name) in enumerate(signatures, 1):
            kind, key, *more = signer.split(":", 2) if not signer.startswith("garbage") else (*signer.split(":", 1),)
            target = "second" if more == ["second"] else image
            digest = maker.pictures[image].digest
            data = maker.signed(target, f"{kind}:{key}", name.replace("DIGEST", digest))
            files[f"signature-{number}"] = data[:-20] if more == ["cut"] else data
        fixtures[label] = Fixture(files, repository)
    tell("cosign")
    repository = "registry.example:5000/team/cosigned"
    files = maker.plain("first")
    files |= {f"signature-{n}": data for n, data in enumerate(maker.by_cosign(repository), 1)}
    fixtures["cosigned"] = Fixture(files, repository)
    fixtures |= _indexes(maker)
    bundle = maker.bundle_by_cosign()
    fixtures["bundled"] = replace(Fixture(maker.plain("first")), repository="registry.example:5000/team/bundled")
    maker.age_keys()
    versions = {
        "skopeo": maker.run("skopeo", "--version").split()[2],
        "gpg": maker.run("gpg", "--version").split()[2],
        "cosign": maker.run("dpkg-query", "-W", "-f", "${Version}", "cosign").partition("-")[0],
    }
    return Material(fixtures, {**maker.keys, "cosign.bundle": bundle}, versions)


def _indexes(maker: Maker) -> dict[str, Fixture]:
    """Indexes that are signed themselves, or whose chosen instance is, or both, or another instance."""
    collection = maker.pictures["index"]
    first = maker.pictures["first"].digest.partition(":")[2]
    found = {}
    for label in ("index-only", "instance-only", "index-unsigned", "other-instance"):
        repository = f"registry.example:5000/lists/{label}"
        files = maker.plain("index")
        if label == "index-only":
            files["signature-1"] = certificates.signed(collection.digest, "p256", f"{repository}:1")
        if label == "instance-only":
            signed = certificates.signed(f"sha256:{first}", "p256", f"{repository}:1")
            files[f"{first}{SUFFIX}1"] = signed
        if label == "other-instance":
            other = next(name for name in files if name.endswith(".manifest.json") and not name.startswith(first))
            hexadecimal = other.partition(".")[0]
            files[f"{hexadecimal}{SUFFIX}1"] = certificates.signed(f"sha256:{hexadecimal}", "p256", f"{repository}:1")
        found[label] = Fixture(files, repository)
    return found
