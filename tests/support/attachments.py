"""Attachments for tests: artifacts with a subject, signatures under cosign's tags, and files of signatures."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import images

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SBOM = "application/spdx+json"
SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass(frozen=True)
class Artifact:
    """A manifest and its blobs; `tag` is its tag in a registry, "" for none."""

    raw: bytes
    own: dict[str, bytes] = field(hash=False)
    tag: str = ""

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return images.sha256(self.raw)

    @property
    def size(self) -> int:
        """Bytes of the manifest and its blobs."""
        return len(self.raw) + sum(map(len, self.own.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Its names in a layout."""
        return (self.tag,) if self.tag else ()

    def descriptor(self) -> dict[str, Any]:
        """Its descriptor in an index."""
        return {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.raw)}

    def blobs(self) -> dict[str, bytes]:
        """All blobs, the manifest among them."""
        return {self.digest: self.raw, **self.own}


def described(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A descriptor of *data*."""
    return {"mediaType": media_type, "digest": images.sha256(data), "size": len(data), **more}


def sbom(subject: dict[str, Any], text: str = "all that is in it", kind: str = SBOM, **more: Any) -> Artifact:
    """An artifact that names *subject*, a descriptor, itself."""
    data = text.encode()
    keys = ("mediaType", "digest", "size")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": described(EMPTY, EMPTY_TYPE),
        "layers": [described(data, kind)],
        "subject": {key: subject[key] for key in keys},
        "annotations": {"note": text[:20]},
        **more,
    }
    return Artifact(images.dump(document), {images.sha256(data): data, images.sha256(EMPTY): EMPTY})


def payload(subject: str, reference: str = "example.com/app") -> bytes:
    """The payload of cosign's simple signatures."""
    return images.dump(
        {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": subject},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )


def signature(subject: str, *words: str, suffix: str = "sig") -> Artifact:
    """A manifest under cosign's tag, with a signature for each of *words*."""
    data = payload(subject)
    notes = [{"dev.cosignproject.cosign/signature": base64.b64encode(word.encode()).decode()} for word in words]
    layers = [described(data, SIGNING, annotations=one) for one in notes]
    config = images.dump({"os": "", "rootfs": {"type": "layers", "diff_ids": [images.sha256(data) for _ in words]}})
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    own = {images.sha256(data): data, images.sha256(config): config}
    return Artifact(images.dump(document), own, f"{subject.replace(':', '-')}.{suffix}")


def sigstore_file(subject: str, word: str) -> bytes:
    """A signature of sigstore's as a file of a `dir:`."""
    members = {
        "mimeType": SIGNING,
        "payload": base64.b64encode(payload(subject)).decode(),
        "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(word.encode()).decode()},
    }
    return b"\0sigstore-json\n" + json.dumps(members, separators=(",", ":")).encode()


def put(server: Registry, repository: str, one: Artifact) -> str:
    """Put it into a registry of the tests'."""
    for data in one.own.values():
        server.put_blob(repository, data)
    return server.put_manifest(repository, one.raw, MANIFEST, one.tag)


def fallback(*artifacts: Artifact) -> bytes:
    """The index of referrers that tools keep under a tag; its types are wrong, as cosign's are."""
    entries = [{**one.descriptor(), "artifactType": EMPTY_TYPE} for one in artifacts]
    return images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": entries})


def add_to_layout(layout: Path, *artifacts: Artifact, **more: Any) -> None:
    """Add *artifacts* to a layout in a directory, each named after its tag, and with fields *more*."""
    index = json.loads((layout / "index.json").read_bytes())
    for one in artifacts:
        for digest, data in one.blobs().items():
            (layout / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(data)
        notes = {"org.opencontainers.image.ref.name": one.tag} if one.tag else {}
        entry = {**one.descriptor(), **({"annotations": notes} if notes else {}), **more}
        index["manifests"].append(entry)
    (layout / "index.json").write_bytes(images.dump(index))


def listed(layout: Path) -> dict[str, dict[str, Any]]:
    """The entries of a layout's `index.json`, by digest."""
    return {one["digest"]: one for one in json.loads((layout / "index.json").read_bytes())["manifests"]}
