"""arstore before and after a power cut: the commands that it runs, and how the resulting store is judged.

After the cut another boot opens the store. Every name that a finished command had set is there, and every name that it
had removed is not; the changes of an interrupted command are there completely or not at all. Every image that `images`
lists can be mounted and shows every byte, and `find` lists what it shows; a deep check finds only harmless things;
<<<<<<< HEAD
containers that were to stay can be mounted again. After `gc`, a check finds nothing at all, and no other container is
left. Then a container runs again, and a `load` that had begun is repeated and succeeds.
=======
containers that were to stay can be mounted again. After `gc`, a check finds nothing but torn parts of the index of
contents, and no other container is left. Then a container runs again, and a `load` that had begun is repeated and
succeeds.
>>>>>>> bytes
"""

from __future__ import annotations

import json
import pickle
import random
from typing import TYPE_CHECKING, Any

from support.runnable import PIPELINE_NAMES
from support.treelist import differences, listing

from reliability.cutting import command
from reliability.cutting.expectation import Expectation
from reliability.cutting.workload import AT_FIRST, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from reliability.cutting.command import Ended

_EVERYTHING = 1_000_000
"""More paths than an image of the workload has."""
HARMLESS_ENDINGS = {0, 7}
"""Exit statuses that a command of the workload may have: success, or in use by a container of the workload."""
UNTIL_THE_NEXT_CHANGE = {"index-stale"}
"""Findings of check that the next change repairs: `index.json` is a copy of the graph's records, written later."""
UNTIL_REPAIRED = {"tree-untrusted", "contents-index"}
"""Findings that are allowed even after `gc`: trees that are rebuilt when used, and a torn part of a cache."""


class Ours:
    """arstore with a store on *disk* (a mount point), and a directory elsewhere for the data of the exercise."""

    name = "arstore"

    def __init__(self, disk: Path, desk: Path, archives: dict[str, Path], runroot: Path | None = None) -> None:
        self._disk = disk
        self._desk = desk
        self._archives = archives
        self._words = ("--root", str(disk / "store"), "--runroot", str(runroot or disk / "run"), "--quiet")

    def run(self, *words: str) -> Ended:
        """Run a command on the store."""
        return command.arstore(self._desk, *self._words, *words)

    def ok(self, *words: str) -> Ended:
        """Run a command that must end with 0. Raises ChildProcessError."""
        ended = self.run(*words)
        if ended.status:
            raise ChildProcessError(f"{' '.join(words)} ended with {ended.status}: {ended.err[-1500:]}")
        return ended

    # --- before the cut ---------------------------------------------------------------------------------------------

    def prepare(self) -> dict[str, str]:
        """Import two images with durable trees; write the listings of all images, by digest, to the desk."""
        digests = {}
        plain = {name: path for name, path in self._archives.items() if name != "pipeline"}
        for form in ("directory", "auto"):
            for name, path in plain.items():
                digest = self.ok("import", "--tree", form, str(path)).out.split()[0]
                self._keep_listing(digest, f"{name}:1")
                digests[f"{name}:1"] = digest
            if form == "directory":
                self.ok("rm", *(f"{name}:1" for name in plain))
        self.ok("rm", *(f"{name}:1" for name in plain if f"{name}:1" not in AT_FIRST))
        if "pipeline" in self._archives:
            self.ok("load", "-i", str(self._archives["pipeline"]))
            for name in PIPELINE_NAMES:
                digests[name] = json.loads(self.ok("inspect", name, "--json").out)["digest"]
                self._keep_listing(digests[name], name)
            self.ok("rm", *PIPELINE_NAMES)
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
        """Run random commands without end; report what each is to do, and how it ended."""
        chance = random.Random(seed)
        workload = Workload(chance, self._archives)
        names = set(AT_FIRST)
        for number in range(1, 1000):
            for step in workload.planned(number, sorted(names)):
                tell(step.told())
                ended = self.run(*step.words)
                tell({"status": ended.status, "out": ended.out.strip(), "err": ended.err[-1500:]})
                if ended.status:
                    break
                names = (names | set(step.sets)) - set(step.drops)
                if step.words[0] == "mount":
                    self._write(step.words, ended, chance)

    def _write(self, words: list[str], ended: Ended, chance: random.Random) -> None:
        """Change something in a newly mounted container, and keep the resulting listing."""
        path = ended.out.strip()
        if "--rw" in words:
            for number in range(5):
                with open(f"{path}/written-{number}", "wb") as file:
                    file.write(chance.randbytes(chance.randint(0, 20000)))
        container = words[words.index("--name") + 1] if "--name" in words else words[-1]
        self._listing(container).write_bytes(pickle.dumps(listing(path)))

    # --- after it ---------------------------------------------------------------------------------------------------

    def judge(self, events: list[dict[str, Any]], digests: dict[str, str]) -> dict[str, Any]:
        """Return every fault, the number of listed images, and the number of those with wrong content."""
        faults = [
            f"{events[n - 1]['words']} ended with {e['status']}: {e['err']}"
            for n, e in enumerate(events)
            if "status" in e and e["status"] not in HARMLESS_ENDINGS
        ]
        expected = Expectation.of(events, digests)
        listed = self._listed()
        faults += expected.wrong_names(set(listed))
        faults += [f"check finds {f}" for f in self._findings() if not self._may_be(f)]
        wrong = self._wrong_images(listed, expected.shown)
        faults += wrong
        faults += self._containers(expected.containers - expected.maybe_containers)
        self.run("umount", "--all")
        self.ok("gc")
        faults += [f"after gc check finds {f}" for f in self._findings() if f["kind"] not in UNTIL_REPAIRED]
        faults += expected.wrong_containers({c["id"] for c in json.loads(self.ok("ps", "--all", "--json").out)})
        if "pipeline" in self._archives:
            faults += self._going_on(expected)
        return {"faults": faults, "listed": len(listed), "bad": len(wrong), "unusable": False}

    def _listed(self) -> dict[str, str]:
        return {n: i["digest"] for i in json.loads(self.ok("images", "--json").out) for n in i["names"]}

    def _findings(self) -> list[dict[str, Any]]:
        ended = self.run("check", "--json")
        try:
            return list(json.loads(ended.out)["findings"])
        except (ValueError, KeyError):
            return [{"kind": "no answer", "what": f"{ended.status}", "why": ended.err[-500:], "harmless": False}]

    @staticmethod
    def _may_be(finding: dict[str, Any]) -> bool:
        return bool(finding.get("harmless")) or finding["kind"] in UNTIL_THE_NEXT_CHANGE

    def _wrong_images(self, listed: dict[str, str], shown: dict[str, str]) -> list[str]:
        """A line for each of the *listed* images with wrong content."""
        found = []
        for name, digest in sorted(listed.items()):
            if wrong := self._shows_wrong(name, shown.get(name) or shown.get(digest) or digest):
                found.append(f"{name}: {wrong}")
        return found

    def _shows_wrong(self, name: str, key: str) -> str:
        ended = self.run("mount", name)
        if ended.status:
            return f"cannot be mounted: {ended.err.strip()[-500:]}"
        path = ended.out.strip()
        try:
            found = listing(path)
            wrong = differences(pickle.loads(self._listing(key).read_bytes()), found)
            wrong += self._found_wrong(name, found)
        except OSError as error:
            wrong = [f"cannot be read: {error}"]
        self.run("umount", path)
        return "; ".join(wrong[:5])

    def _found_wrong(self, image: str, shown: Collection[bytes]) -> list[str]:
        """Compare the answer of `find` with what the mounted image has *shown*."""
        ended = self.run("find", "--image", image, "--visible", "--json", "--limit", str(_EVERYTHING), "**")
        if ended.status:
            return [f"find ended with {ended.status}: {ended.err.strip()[-500:]}"]
        answer = json.loads(ended.out)
        said = {one["path"].removeprefix("/") for one in answer["found"]}
        # As JSON has names that are not text.
        right = {path.decode(errors="backslashreplace") for path in shown if path}
        lacking = set() if answer["unknown"]["layers"] else right - said
        more = [f"find says {path!r}" for path in sorted(said - right)]
        return more + [f"find lacks {path!r}" for path in sorted(lacking)]

    def _containers(self, wanted: set[str]) -> list[str]:
        """Check that every container that was made is there, and can be mounted."""
        faults = []
        for name in sorted(wanted):
            ended = self.run("mount", name)
            if ended.status:
                faults.append(f"container {name} cannot be mounted: {ended.err.strip()[-500:]}")
        return faults

    def _going_on(self, expected: Expectation) -> list[str]:
        """Faults of containers in the new boot, and of a `load` that is repeated."""
        faults = []
        self.ok("import", str(self._archives["box"]))
        ended = self.run("run", "box:1", "/bin/true")
        if ended.status:
            faults.append(f"a new run ended with {ended.status}: {ended.err[-800:]}")
        if expected.loaded:
            ended = self.run("load", "-i", str(self._archives["pipeline"]))
            if ended.status:
                faults.append(f"load, given again, ended with {ended.status}: {ended.err[-800:]}")
            listed = {name: digest for name, digest in self._listed().items() if name in PIPELINE_NAMES}
            faults += [f"after load given again, {name} is missing" for name in {*PIPELINE_NAMES} - listed.keys()]
            faults += [f"after load given again, {wrong}" for wrong in self._wrong_images(listed, {})]
            left = list((self._disk / "store/pipeline/images").iterdir())
            faults += [f"load, given again, leaves {path}" for path in left]
        return faults
