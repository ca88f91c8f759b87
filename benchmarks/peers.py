"""The peers: podman, skopeo, umoci and containerd, from the peers' root directory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.engine import Engine
from benchmarks.measure import MeasurementError
from benchmarks.process import Command, Started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.ground import Ground
    from benchmarks.process import Done

_START_SECONDS = 30.0


class Podman(Engine):
    """podman with the overlay driver, crun, and the cgroupfs manager."""

    label = "podman load"
    program = "podman"

    def command(self, *arguments: str) -> Command:
        """podman with *arguments*, on its store."""
        places = ("--root", f"{self.place}/root", "--runroot", f"{self.place}/run", "--tmpdir", f"{self.place}/tmp")
        settings = ("--storage-driver", "overlay", "--cgroup-manager", "cgroupfs")
        plain = self.plain(*places, *settings, *arguments)
        return Command(plain.argv, {**plain.env, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}, plain.root)

    def import_command(self, archive: str, name: str) -> Command:
        """`podman load`, which takes the name from the archive."""
        return self.command("load", "--quiet", "--input", self.ground.seen(archive))

    def load(self, archive: str) -> str:
        """Load *archive*; the image's name. Raises MeasurementError."""
        return self.loaded(self.ground.execute(self.import_command(archive, "")))

    def loaded(self, done: Done) -> str:
        """The name of the image that a `podman load` has loaded. Raises MeasurementError."""
        _, found, name = done.stdout.strip().rpartition("Loaded image: ")
        if not found:
            raise MeasurementError("podman load names no image")
        return name

    def run_command(self, name: str, *arguments: str, options: Sequence[str] = ()) -> Command:
        """`podman run` of a command through crun, without a network."""
        return self.command("--runtime", "crun", "run", "--rm", "--network", "none", *options, name, *arguments)


class Skopeo(Engine):
    """skopeo, copying to a containers-storage with the overlay driver."""

    label = "skopeo copy"
    program = "skopeo"

    def import_command(self, archive: str, name: str) -> Command:
        """`skopeo copy` of an OCI archive."""
        source = f"oci-archive:{self.ground.seen(archive)}"
        return self.plain("--insecure-policy", "copy", "--quiet", source, self.storage(name))

    def delete_command(self, name: str) -> Command:
        """`skopeo delete`."""
        return self.plain("--insecure-policy", "delete", self.storage(name))

    def layout_command(self, archive: str, layout: str) -> Command:
        """`skopeo copy` of an OCI archive to the layout directory *layout*, as the name x."""
        source, target = f"oci-archive:{self.ground.seen(archive)}", f"oci:{self.ground.seen(layout)}:x"
        return self.plain("--insecure-policy", "copy", "--quiet", source, target)

    def storage(self, name: str) -> str:
        """The image *name* in its containers-storage."""
        return f"containers-storage:[overlay@{self.place}/root+{self.place}/run]localhost/{name}:latest"


class Umoci(Engine):
    """umoci, unpacking from a layout that was made beforehand, so that it does not read the archive."""

    label = "umoci unpack"
    program = "umoci"

    def fresh(self) -> None:
        """Make an empty directory; `ready` adds a layout."""
        super().fresh()
        Skopeo(self.ground, self.tag).require()

    def ready(self, *archives: str) -> None:
        """Make the layout, then do as the other engines."""
        skopeo = Skopeo(self.ground, self.tag)
        for archive in archives:
            self.ground.execute(skopeo.layout_command(self.ground.archive(archive), f"{self.home}/layout"))
        super().ready()

    def import_command(self, archive: str, name: str) -> Command:
        """`umoci unpack` of the layout."""
        return self.plain("unpack", "--image", f"{self.place}/layout:x", f"{self.place}/bundle")


class Containerd(Engine):
    """ctr and a separate containerd, started before and stopped after each sample."""

    label = "ctr import"
    program = "containerd"

    def __init__(self, ground: Ground, tag: str) -> None:
        super().__init__(ground, tag)
        self._daemon: Started | None = None

    def fresh(self) -> None:
        """Start a daemon with an empty store."""
        super().fresh()
        with open(f"{self.home}/config.toml", "w", encoding="ascii") as file:
            file.write(_configuration(self.version()))
        places = ("--root", f"{self.place}/root", "--state", f"{self.place}/state", "--address", self._address)
        self._daemon = Started(self.plain("--config", f"{self.place}/config.toml", *places))
        self._wait(self._daemon)

    def discard(self) -> None:
        """Stop the daemon and remove its store."""
        if self._daemon is not None:
            self._daemon.stop()
            self._daemon = None
        super().discard()

    def import_command(self, archive: str, name: str) -> Command:
        """`ctr image import`, which unpacks too; the daemon does all the work."""
        return self._ctr("image", "import", "--snapshotter", "overlayfs", self.ground.seen(archive))

    @property
    def _address(self) -> str:
        return f"{self.place}/socket"

    def _ctr(self, *arguments: str) -> Command:
        plain = self.plain()
        return Command(("ctr", "--address", self._address, *arguments), plain.env, plain.root)

    def _wait(self, daemon: Started) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while Started(self._ctr("version")).finish().status != 0:
            if time.monotonic() > deadline:
                raise MeasurementError(f"containerd does not start: {daemon.output()}")
            time.sleep(0.2)


_NOT_NEEDED = ("snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper", "grpc.v1.cri")
_NOT_NEEDED_BY_2 = ("cri.v1.images", "cri.v1.runtime")


def _configuration(version: str) -> str:
    """A configuration without the plugins that images do not need; some of them fail to load and log a lot about it."""
    second = any(word.lstrip("v").startswith("2.") for word in version.split())
    names = (*_NOT_NEEDED, *(_NOT_NEEDED_BY_2 if second else ()))
    plugins = ", ".join(f'"io.containerd.{name}"' for name in names)
    return f"version = {3 if second else 2}\ndisabled_plugins = [{plugins}]\n"
