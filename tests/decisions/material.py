"""Signed images, kept as JSON, and as directories in skopeo's `dir:` form."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE / "material.json"
SUFFIX = ".signature-"


@dataclass(frozen=True)
class Fixture:
    """The files of a `dir:`, and the image's repository in a registry."""

    files: dict[str, bytes]
    repository: str = ""

    def write(self, place: Path) -> Path:
        """Write the directory."""
        place.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (place / name).write_bytes(data)
        return place

    def signatures(self, instance: str = "") -> list[bytes]:
        """The files of the signatures on the image, or on the *instance* of an index with this hexadecimal digest."""
        prefix = f"{instance}{SUFFIX}" if instance else SUFFIX[1:]
        found = []
        while (name := f"{prefix}{len(found) + 1}") in self.files:
            found.append(self.files[name])
        return found


@dataclass(frozen=True)
class Material:
    """All fixtures, files with keys, and bundles."""

    fixtures: dict[str, Fixture] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def write_keys(self, place: Path) -> None:
        """Write every key file into the directory *place*."""
        place.mkdir(parents=True, exist_ok=True)
        for name, data in self.keys.items():
            (place / name).write_bytes(data)


def load() -> Material:
    """Read the material that `save` has written."""
    kept = json.loads(KEPT.read_text())
    blobs = [base64.b64decode(one) for one in kept["blobs"]]
    return Material(
        {
            name: Fixture({file: blobs[number] for file, number in one["files"].items()}, one["repository"])
            for name, one in kept["fixtures"].items()
        },
        {name: blobs[number] for name, number in kept["keys"].items()},
        kept["versions"],
    )


def save(material: Material) -> None:
    """Write *material*; equal contents are written once."""
    blobs: dict[bytes, int] = {}

    def place(data: bytes) -> int:
        return blobs.setdefault(data, len(blobs))

    kept = {
        "versions": material.versions,
        "fixtures": {
            name: {"repository": one.repository, "files": {file: place(data) for file, data in one.files.items()}}
            for name, one in material.fixtures.items()
        },
        "keys": {name: place(data) for name, data in material.keys.items()},
    }
    KEPT.write_text(json.dumps({**kept, "blobs": [base64.b64encode(one).decode() for one in blobs]}, indent=0) + "\n")
