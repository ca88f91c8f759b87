"""arstore before and after a power cut: what it is made to do, and how what it then has is judged.

After the cut another boot opens the store. Every name that a command had set when it ended is there, and every one that
it had taken away is not; what the command under way meant to do is done or not, wholly. Whatever `images` lists is
mounted and shows every byte that it must; a deep check finds nothing but what harms nobody; containers can be mounted
again. After `gc`, a check finds nothing at all.
"""

from __future__ import annotations

import json
import pickle
import random
from typing import TYPE_CHECKING, Any

from support.treelist import differences, listing

from reliability.cutting import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reliability.cutting.command import Ended

HARMLESS_ENDINGS = {0, 7}
"""Exit statuses that a command of the workload may have: done, or in use by one of the workload's containers."""
UNTIL_THE_NEXT_CHANGE = {"index-stale"}
"""What check may find before the next change: `index.json` is a copy of what the graph says, and follows it."""


class Ours:
    """arstore with a store on *disk* (a mount point), and a directory elsewhere for what the exercise keeps."""

    name = "arstore"

    def __init__(self, disk: Path, desk: Path, archives: dict[str, Path], runroot: Path | None = None) -> None:
        self._desk = desk
        self._archives = archives
        self._words = ("--root", str(disk / "store"), "--runroot", str(runroot or disk / "run"), "--quiet")

    def run(self, *words: str) -> Ended:
        """A command on the store."""
        return command.arstore(self._desk, *self._words, *words)

    def ok(self, *words: str) -> Ended:
        """A command that has to end with 0. Raises ChildProcessError."""
        ended = self.run(*words)
        if ended.status:
            raise ChildProcessError(f"{' '.join(words)} ended with {ended.status}: {ended.err[-1500:]}")
        return ended

    # --- before the cut ---------------------------------------------------------------------------------------------

    def prepare(self) -> dict[str, str]:
        """Have two images already, durable trees and all; the listings of all images, by digest, go to the desk."""
        digests = {}
        for form in ("directory", "auto"):
            for name, path in self._archives.items():
                digest = self.ok("import", "--tree", form, str(path)).out.split()[0]
                self._keep_listing(digest, f"{name}:1")
                digests[f"{name}:1"] = digest
            if form == "directory":
                self.ok("rm", *(f"{name}:1" for name in self._archives))
        self.ok("rm", *(f"{name}:1" for name in self._archives if name not in {"many", "stack"}))
        self.ok("gc")
        return digests

    def _keep_listing(self, key: str, image: str) -> None:
        path = self.ok("mount", image).out.strip()
        found = listing(path)
        self.ok("umount", path)
        target = self._listing(key)
        if target.exists() and differences(pickle.loads(target.read_bytes()), found):
            raise ChildProcessError(f"{image} is not the same in both forms")
        target.write_bytes(pickle.dumps(found))

    def _listing(self, key: str) -> Path:
        return self._desk.parent / "listings" / key.replace("/", "-")

    def work(self, seed: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Commands without an end, chosen by chance; *tell* is told what each is to do, and how it ended."""
        chance = random.Random(seed)
        names = {"many:1", "stack:1"}
        containers: set[str] = set()
        for number in range(1, 1000):
            for words, sets, drops, after in self._planned(chance, number, sorted(names), sorted(containers)):
                tell({"words": words, "set": sets, "drop": drops, "container": after})
                ended = self.run(*words)
                tell({"status": ended.status, "out": ended.out.strip(), "err": ended.err[-1500:]})
                if ended.status:
                    break
                names = (names | set(sets)) - set(drops)
                containers |= {after} - {""}
                if words[:2] == ["container", "rm"]:
                    containers.discard(words[2])
                self._write(words, ended, chance)

    def _planned(
        self, chance: random.Random, number: int, names: list[str], containers: list[str]
    ) -> Iterator[tuple[list[str], dict[str, str], list[str], str]]:
        """Words, names that they set (and the listing that these show), names they take away, the container made."""
        some = chance.choice(names) if names else ""
        kind = chance.choice(
            ["import"] * 6 + (["rm", "tag", "untag", "convert", "container", "container", "gc"] if some else [])
        )
        if kind == "import":
            name = chance.choice(sorted(self._archives))
            form = chance.choice(["auto", "directory"])
            yield ["import", "--tree", form, str(self._archives[name])], {f"{name}:1": ""}, [], ""
        elif kind == "rm":
            yield ["rm", some], {}, [some], ""
        elif kind == "tag":
            yield ["tag", some, f"tagged{number}:1"], {f"tagged{number}:1": ""}, [], ""
        elif kind == "untag":
            yield ["untag", some], {}, [some], ""
        elif kind == "convert":
            yield ["convert", "--tree", chance.choice(["erofs", "directory"]), some], {}, [], ""
        elif kind == "gc":
            yield ["gc"], {}, [], ""
        else:
            made = f"c{number}"
            yield ["mount", "--rw", "--name", made, some], {}, [], made
            yield ["umount", made], {}, [], ""
            if chance.random() < 0.7:
                yield ["commit", made, f"made{number}:1"], {f"made{number}:1": made}, [], ""
            if chance.random() < 0.5:
                yield ["container", "rm", made], {}, [], ""

    def _write(self, words: list[str], ended: Ended, chance: random.Random) -> None:
        """Change something in a container that was just mounted, and keep what it then shows."""
        if words[:2] != ["mount", "--rw"]:
            return
        path = ended.out.strip()
        for number in range(5):
            with open(f"{path}/written-{number}", "wb") as file:
                file.write(chance.randbytes(chance.randint(0, 20000)))
        self._listing(words[3]).write_bytes(pickle.dumps(listing(path)))

    # --- after it ---------------------------------------------------------------------------------------------------

    def judge(self, events: list[dict[str, Any]], digests: dict[str, str]) -> dict[str, Any]:
        """Every fault, and how many images were listed and how many of them are not what they must be."""
        faults = [
            f"{events[n - 1]['words']} ended with {e['status']}: {e['err']}"
            for n, e in enumerate(events)
            if "status" in e and e["status"] not in HARMLESS_ENDINGS
        ]
        names, maybe, shown, containers = _expected(events, digests)
        listed = {n: i["digest"] for i in json.loads(self.ok("images", "--json").out) for n in i["names"]}
        faults += [f"{name} was there and is lost" for name in sorted(names - maybe - listed.keys())]
        faults += [f"{name} is there and must not be" for name in sorted(listed.keys() - names - maybe)]
        faults += [f"check finds {f}" for f in self._findings() if not self._may_be(f)]
        bad = 0
        for name, digest in sorted(listed.items()):
            key = shown.get(name) or shown.get(digest) or digest
            if wrong := self._shows_wrong(name, key):
                bad += 1
                faults.append(f"{name}: {wrong}")
        faults += self._containers(containers)
        self.run("umount", "--all")
        self.ok("gc")
        faults += [f"after gc check finds {f}" for f in self._findings() if f["kind"] != "tree-untrusted"]
        return {"faults": faults, "listed": len(listed), "bad": bad, "unusable": False}

    def _findings(self) -> list[dict[str, Any]]:
        ended = self.run("check", "--json")
        try:
            return list(json.loads(ended.out)["findings"])
        except (ValueError, KeyError):
            return [{"kind": "no answer", "what": f"{ended.status}", "why": ended.err[-500:], "harmless": False}]

    @staticmethod
    def _may_be(finding: dict[str, Any]) -> bool:
        return bool(finding.get("harmless")) or finding["kind"] in UNTIL_THE_NEXT_CHANGE

    def _shows_wrong(self, name: str, key: str) -> str:
        ended = self.run("mount", name)
        if ended.status:
            return f"cannot be mounted: {ended.err.strip()[-500:]}"
        path = ended.out.strip()
        try:
            wrong = differences(pickle.loads(self._listing(key).read_bytes()), listing(path))
        except OSError as error:
            wrong = [f"cannot be read: {error}"]
        self.run("umount", path)
        return "; ".join(wrong[:5])

    def _containers(self, wanted: set[str]) -> list[str]:
        """Every container that was made is there, and can be mounted."""
        faults = []
        for name in sorted(wanted):
            ended = self.run("mount", name)
            if ended.status:
                faults.append(f"container {name} cannot be mounted: {ended.err.strip()[-500:]}")
        return faults


def _expected(
    events: list[dict[str, Any]], digests: dict[str, str]
) -> tuple[set[str], set[str], dict[str, str], set[str]]:
    """The names that must be there, those that may or may not, what shows which listing, the containers."""
    names = {"many:1", "stack:1"}
    maybe: set[str] = set()
    shown = dict(digests)
    containers: set[str] = set()
    for number, event in enumerate(events):
        if "status" in event:
            continue
        end = events[number + 1] if number + 1 < len(events) else None
        shown.update({name: key for name, key in event["set"].items() if key})
        if event["words"][0] == "tag":
            shown[event["words"][2]] = shown.get(event["words"][1], "")
        if end is None:
            maybe |= set(event["set"]) | set(event["drop"])
            if event["words"][:2] == ["container", "rm"]:
                containers.discard(event["words"][2])
        elif end["status"] == 0:
            names = (names | set(event["set"])) - set(event["drop"])
            containers |= {event["container"]} - {""}
            if event["words"][:2] == ["container", "rm"]:
                containers.discard(event["words"][2])
    return names, maybe, shown, containers
