"""Places of the table's images, and the values of its placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import images

from decisions.making import pictures

if TYPE_CHECKING:
    from pathlib import Path

    from decisions.cases import Case
    from decisions.material import Material


class Places:
    """A directory without symlinks in its path, with everything that the table's policies and sources name."""

    def __init__(self, top: Path, material: Material) -> None:
        self.top = top.resolve()
        self.keys = self.top / "keys"
        self.material = material
        self.pictures = pictures()
        self._digest = self.pictures["first"].digest

    def write(self) -> None:
        """Write everything."""
        self.material.write_keys(self.keys)
        for name, fixture in self.material.fixtures.items():
            fixture.write(self.top / "dir" / name)
        (self.top / "link").symlink_to("dir")
        first = self.pictures["first"]
        assert isinstance(first, images.Picture)
        images.write_layout(self.top / "oci", first)
        images.write_oci_archive(self.top / "oci.tar", first)
        images.write_docker_archive(self.top / "docker.tar", first)

    def filled(self, text: str) -> str:
        """*text* with all placeholders replaced."""
        found = text.replace("@DIGEST@", self._digest)
        return found.replace("@K@", str(self.keys)).replace("@W@", str(self.top))

    def policy(self, case: Case) -> bytes:
        """The bytes of a case's policy."""
        return self.filled(case.policy.decode("latin-1")).encode("latin-1")

    def source(self, case: Case) -> str:
        """A case's source."""
        return self.filled(case.source)
