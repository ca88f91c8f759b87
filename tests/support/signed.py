"""Signed images and policies for tests of trust: test keys, and real signatures by them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from support import attachments, images

from arstore.digest import Digest
from arstore.trust import cosign
from arstore.trust.signing.private import make_private_key
from arstore.trust.signing.sign import sign_bundle, sign_image

if TYPE_CHECKING:
    from pathlib import Path

    from arstore.trust.signing.private import PrivateKey

REFERENCE = "example.com/team/app:1"


def key() -> PrivateKey:
    """A new key."""
    return make_private_key("ecdsa-p256")


def signature(signer: PrivateKey, subject: str, reference: str = REFERENCE) -> attachments.Artifact:
    """A signature of the manifest *subject* under cosign's tag."""
    carrier = cosign.carry([sign_image(signer, Digest(subject), reference)])
    own = {images.sha256(blob): blob for blob in carrier.blobs}
    return attachments.Artifact(carrier.manifest, own, cosign.tag_of(Digest(subject)))


def bundle(signer: PrivateKey, subject: dict[str, Any], raw: bytes) -> attachments.Artifact:
    """A bundle that signs the manifest *raw*, whose descriptor is *subject*."""
    carrier = cosign.carry_bundle(sign_bundle(signer, Digest(subject["digest"])), subject["mediaType"], raw)
    return attachments.Artifact(carrier.manifest, {images.sha256(blob): blob for blob in carrier.blobs})


def sigstore(signer: PrivateKey, **identity: str) -> dict[str, Any]:
    """The requirement of a signature by this key; the identity is the repository's by default."""
    wanted = identity or {"type": "exactRepository", "dockerRepository": "example.com/team/app"}
    data = base64.b64encode(signer.public.pem()).decode()
    return {"type": "sigstoreSigned", "keyData": data, "signedIdentity": wanted}


def policy(path: Path, default: Any, **transports: Any) -> Path:
    """A policy file."""
    names = {name.replace("_", "-"): scopes for name, scopes in transports.items()}
    path.write_text(json.dumps({"default": default, "transports": names}))
    return path


REJECT = [{"type": "reject"}]
ACCEPT = [{"type": "insecureAcceptAnything"}]
