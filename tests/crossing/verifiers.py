"""The verifiers: the result of each for a signed image, and its known limits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from interop.tools import NO_TLS, FailedError

from crossing.media import ARCHIVE, BUNDLE, DIR, GPG, LAYOUT, LOOKASIDE
from crossing.signers import NAME, Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossing.media import Place

_ANY_TLOG = ("--insecure-ignore-tlog=true", "--allow-http-registry", "--allow-insecure-registry")


class Limit(NamedTuple):
    """Why a verifier does not accept a good signature; `said` is its message then, or "" if it is not run."""

    why: str
    said: str = ""

    def fits(self, text: str) -> bool:
        """Whether *text* is the verifier's message for this limit."""
        return bool(self.said) and re.search(self.said, text) is not None


class Verifier:
    """A tool that verifies."""

    name = ""
    programs: tuple[str, ...] = ()

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def limit(self, form: str, place: Place) -> Limit | None:
        """The known limit for signatures of this form at *place*."""
        raise NotImplementedError

    def verify(self, form: str, place: Place, key: str) -> None:
        """Accept the image with the key in the file *key*. Raises FailedError if it is rejected."""
        raise NotImplementedError

    def policy(self, form: str, place: Place, key: str, *, any_identity: bool = False) -> str:
        """Write a policy file that requires a signature by *key*, of this repository or with *any_identity* of any."""
        identity = {"type": "exactRepository", "dockerRepository": place.identity}
        if any_identity:
            identity = {"type": "anyIdentity"}
        kind = {"type": "signedBy", "keyType": "GPGKeys"} if form == GPG else {"type": "sigstoreSigned"}
        path = self.bench.fresh("policy") / "policy.json"
        path.write_text(json.dumps({"default": [{**kind, "keyPath": key, "signedIdentity": identity}]}))
        return str(path)


class Cosign(Verifier):
    """`cosign verify`."""

    name = "cosign"
    programs = ("cosign",)

    def limit(self, form: str, place: Place) -> Limit | None:
        if form == GPG:
            return Limit("cosign does not verify OpenPGP signatures")
        if place.medium in {ARCHIVE, DIR, LOOKASIDE}:
            return Limit("cosign verifies in registries and in layouts only")
        return None

    def verify(self, form: str, place: Place, key: str) -> None:
        local = ("--local-image",) if place.medium == LAYOUT else ()
        self.bench.peer("cosign", "verify", "--key", key, *_ANY_TLOG, *local, place.path)


class _Containers(Verifier):
    """The common part of skopeo and podman: containers/image."""

    def limit(self, form: str, place: Place) -> Limit | None:
        none = "A signature was required, but no signature exists"
        if place.medium in {LAYOUT, ARCHIVE}:
            return Limit("skopeo and podman do not read signatures in layouts and OCI archives", none)
        if form == BUNDLE:
            return Limit("skopeo and podman do not read bundles", none)
        return None

    @staticmethod
    def called(place: Place) -> str:
        """The reference of *place*, which also selects the image if there are several."""
        if place.medium == LAYOUT and (number := _nameless(place.path)) is not None:
            return f"oci:{place.path}:@{number}"
        return f"{place.reference}:{NAME}" if place.medium in {LAYOUT, ARCHIVE} else place.reference


def _nameless(path: str) -> int | None:
    """The index of the image in a layout where it has no name, as in the layouts that cosign writes."""
    with open(f"{path}/index.json", encoding="utf-8") as file:
        entries = json.load(file)["manifests"]
    name = "org.opencontainers.image.ref.name"
    if any(entry.get("annotations", {}).get(name) == NAME for entry in entries):
        return None
    kinds = [entry.get("annotations", {}).get("kind", "") for entry in entries]
    return next(number for number, kind in enumerate(kinds) if kind.endswith("/image"))


class Skopeo(_Containers):
    """`skopeo copy` to a `dir:`, under a policy."""

    name = "skopeo"
    programs = ("skopeo",)

    def verify(self, form: str, place: Place, key: str) -> None:
        words = ("--policy", self.policy(form, place, key), "--registries.d", self.bench.settings)
        remote = ("--src-tls-verify=false",) if place.reference.startswith("docker:") else ()
        target = f"dir:{self.bench.fresh('copied')}"
        self.bench.peer("skopeo", *words, "copy", "--quiet", *remote, self.called(place), target)


class Podman(_Containers):
    """`podman pull`, under a policy."""

    name = "podman"
    programs = ("podman",)

    def limit(self, form: str, place: Place) -> Limit | None:
        if place.medium == LAYOUT and _nameless(place.path) is not None:
            said = "does not look like an image ID or digest"
            return Limit("podman does not choose an image without a name from a layout", said)
        return super().limit(form, place)

    def verify(self, form: str, place: Place, key: str) -> None:
        storage = self.bench.fresh("podman")
        places = ("--root", storage / "root", "--runroot", storage / "run", "--storage-driver", "vfs")
        words = ("pull", "--quiet", NO_TLS, "--signature-policy", self.policy(form, place, key))
        self.bench.peer("podman", *places, *words, self.called(place), PODMAN_IGNORE_CGROUPSV1_WARNING="1")


class Arstore(Verifier):
    """`arstore import` under a policy, and `arstore verify`: both have to agree."""

    name = "arstore"

    def limit(self, form: str, place: Place) -> Limit | None:
        return None

    def verify(self, form: str, place: Place, key: str) -> None:
        policy = self.policy(form, place, key, any_identity=form == BUNDLE)
        remote = (NO_TLS,) if place.reference.startswith("docker:") else ()
        answers = [
            self._answer("verify", *remote, "--key", key, place.reference),
            self._answer("import", *remote, "--policy", policy, "--name", NAME, place.reference),
        ]
        if bool(answers[0]) != bool(answers[1]):
            raise AssertionError(f"verify and import do not agree: {answers}")
        if answers[0]:
            raise FailedError(" / ".join(answers))

    def _answer(self, *words: str) -> str:
        try:
            self.bench.arstore(*words)
        except FailedError as error:
            return str(error) or "rejected"
        return ""


VERIFIERS: Sequence[type[Verifier]] = (Cosign, Skopeo, Podman, Arstore)
