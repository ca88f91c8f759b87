"""podman before and after a power cut: it loads, tags and removes images, which are judged as arstore's are.

podman runs as it does on a host, with the overlay driver and its storage on the disk that is cut. If a directory with
another system (`tools/peers build`) is given, it runs there, by chroot.
"""

from __future__ import annotations

import json
import os
import pickle
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support.treelist import differences, listing

from reliability.cutting import command
from reliability.cutting.disk import call
from reliability.cutting.samples import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reliability.cutting.command import Ended


class Theirs:
    """podman with its storage on *disk* (a mount point)."""

    name = "podman"

    def __init__(self, disk: Path, desk: Path, archives: dict[str, Path], peers: str = "") -> None:
        self._desk = desk
        self._archives = {name: path for name, path in archives.items() if name in NAMES}
        self._peers = peers
        self._disk = disk

    def boot(self) -> None:
        """Prepare the state right after boot: an empty /run, and the other system's mounts."""
        call("mount", "-t", "tmpfs", "tmpfs", f"{self._peers}/run")
        if self._peers:
            for name in ("proc", "sys", "dev"):
                call("mount", "--rbind", f"/{name}", f"{self._peers}/{name}")
            # Its locks are there; another podman of this host must not share them.
            call("mount", "-t", "tmpfs", "tmpfs", f"{self._peers}/dev/shm")
            call("mount", "--rbind", self._disk, f"{self._peers}/mnt")
            call("mount", "--rbind", self._desk.parent, f"{self._peers}/media")

    def run(self, *words: str) -> Ended:
        """Run a podman command."""
        base = "/mnt" if self._peers else str(self._disk)
        start = ["chroot", self._peers] if self._peers else []
        options = ["--root", f"{base}/podman", "--runroot", "/run/storage", "--storage-driver", "overlay"]
        environment = {"TMPDIR": f"{base}/tmp", "HOME": "/root"}
        os.makedirs(self._disk / "tmp", exist_ok=True)
        return command.program(*start, "podman", *options, *words, environment=environment)

    def ok(self, *words: str) -> Ended:
        """Run a command that must end with 0. Raises ChildProcessError."""
        ended = self.run(*words)
        if ended.status:
            raise ChildProcessError(f"podman {' '.join(words)} ended with {ended.status}: {ended.err[-1500:]}")
        return ended

    def _archive(self, name: str) -> str:
        path = self._archives[name]
        return f"oci-archive:/media/{path.relative_to(self._desk.parent)}" if self._peers else f"oci-archive:{path}"

    # --- before the cut ---------------------------------------------------------------------------------------------

    def prepare(self) -> dict[str, str]:
        """Load two images; write the listings of all images to the desk."""
        self.boot()
        for name in self._archives:
            self.ok("pull", "--quiet", self._archive(name))
            found = self._seen(self._full(name))
            self._listing(name).write_bytes(pickle.dumps(found))
        for name in self._archives:
            if name not in {"many", "stack"}:
                self.ok("rmi", self._full(name))
        return {}

    @staticmethod
    def _full(name: str) -> str:
        return f"localhost/{name}:1"

    def _listing(self, name: str) -> Path:
        return self._desk.parent / "listings" / f"podman-{name}"

    def _seen(self, image: str) -> Any:
        path = self.ok("image", "mount", image).out.strip()
        found = listing(f"{self._peers}{path}")
        self.ok("image", "umount", image)
        # podman gives directories without an entry in any layer the time of the import.
        return {name: replace(item, mtime=0) if item.kind == "d" else item for name, item in found.items()}

    def work(self, seed: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Run random commands without end."""
        self.boot()
        chance = random.Random(seed)
        names = {"many", "stack"}
        while True:
            if names and chance.random() < 0.25:
                name = chance.choice(sorted(names))
                words, sets, drops = ["rmi", self._full(name)], [], [name]
            else:
                name = chance.choice(sorted(self._archives))
                words, sets, drops = ["pull", "--quiet", self._archive(name)], [name], []
            tell({"words": words, "set": sets, "drop": drops})
            ended = self.run(*words)
            tell({"status": ended.status, "out": ended.out.strip(), "err": ended.err[-1500:]})
            if ended.status == 0:
                names = (names | set(sets)) - set(drops)

    # --- after it ---------------------------------------------------------------------------------------------------

    def judge(self, events: list[dict[str, Any]], _digests: dict[str, str]) -> dict[str, Any]:
        """Judge as `Ours.judge` does; images that podman lists are judged only by the content of their mounts."""
        self.boot()
        names, maybe = {"many", "stack"}, set()
        for number, event in enumerate(events):
            if "status" not in event:
                if number + 1 == len(events):
                    maybe |= {*event["set"], *event["drop"]}
                elif events[number + 1]["status"] == 0:
                    names = (names | set(event["set"])) - set(event["drop"])
        ended = self.run("images", "--format", "json")
        if ended.status:
            return {"faults": [f"images: {ended.err[-300:]}"], "listed": 0, "bad": 0, "unusable": True}
        listed = {n for image in json.loads(ended.out or "[]") or [] for n in image.get("Names") or []}
        known = {name for name in self._archives if self._full(name) in listed}
        faults = [f"{name} was there and is lost" for name in sorted(names - maybe - known)]
        bad = 0
        for name in sorted(known):
            try:
                wrong = differences(pickle.loads(self._listing(name).read_bytes()), self._seen(self._full(name)))
            except (OSError, ChildProcessError) as error:
                wrong = [str(error)[-300:]]
            if wrong:
                bad += 1
                faults.append(f"{name}: {len(wrong)} differences: {'; '.join(wrong[:2])}")
        return {"faults": faults, "listed": len(known), "bad": bad, "unusable": False}
