"""Debian's docker-registry on loopback, to pull from and push to."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

from benchmarks.measure import MeasurementError, UnavailableError
from benchmarks.process import Command, Started

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_START_SECONDS = 20.0
_REQUEST = re.compile(r'"(?:GET|HEAD|PUT|POST|PATCH|DELETE) /v2/')
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {directory}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""


class Registry:
    """A registry with its storage in the directory *tag* of the ground. It speaks plain http."""

    def __init__(self, ground: Ground, tag: str = "registry") -> None:
        self._ground = ground
        self._tag = tag
        self._running: Started | None = None
        self.address = ""

    def start(self) -> None:
        """Start with an empty storage. Raises UnavailableError, MeasurementError."""
        root = self._ground.peers_root.rstrip("/")
        if not os.access(f"{root}/usr/bin/docker-registry", os.X_OK):
            raise UnavailableError("docker-registry is not installed")
        directory = self._ground.fresh(self._tag)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        with open(f"{directory}/config.yml", "w", encoding="ascii") as file:
            file.write(_CONFIG.format(directory=self._ground.seen(directory), address=self.address))
        words = ("/usr/bin/docker-registry", "serve", self._ground.seen(f"{directory}/config.yml"))
        self._running = Started(Command(words, self._ground.environment(peer=True), self._ground.peers_root))
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5):
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise MeasurementError(f"docker-registry does not start: {self._running.output()}") from error
                time.sleep(0.05)

    def requests(self) -> int:
        """The number of requests so far."""
        return 0 if self._running is None else len(_REQUEST.findall(self._running.written()))

    def blobs(self, name: str) -> dict[str, str]:
        """The URLs of the blobs of the image *name*, `REPOSITORY:TAG`, by digest. Raises MeasurementError."""
        repository, _, tag = name.rpartition(":")
        base = f"http://{self.address}/v2/{repository}"
        asked = urllib.request.Request(f"{base}/manifests/{tag}", headers={"Accept": _MANIFEST})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                manifest = json.load(answer)
            return {one["digest"]: f"{base}/blobs/{one['digest']}" for one in [manifest["config"], *manifest["layers"]]}
        except (OSError, ValueError, KeyError) as error:
            raise MeasurementError(f"{name} is not in the registry") from error

    def stop(self) -> None:
        """Stop it, and remove its storage."""
        if self._running is not None:
            self._running.stop()
            self._running = None
        self._ground.remove(f"{self._ground.work}/{self._tag}")
