"""Whether a store has come through a kill, judged by fresh processes.

First the state right after the kill: every image is as before or as after, a deep check finds only harmless things,
nothing runs or is mounted that the store does not know, and `find` answers about each image what it has to. After `gc`,
every byte is as before or as after. Then the store must go on without manual repair: the same command succeeds; and
<<<<<<< HEAD
when everything is removed, every file is gone.
=======
when everything is removed, every file is gone, except those of the index of contents.
>>>>>>> bytes
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from arstore.errors import NotFoundError
from reliability.answers import fuller, wrong
from reliability.killing.box import CommandFailedError
from reliability.killing.victim import PARENT

if TYPE_CHECKING:
    from reliability.answers import Shown
    from reliability.killing.box import Box, Files
    from reliability.killing.scenarios import Scenario
    from reliability.killing.victim import Ended, Kill

Images = dict[str, list[str]]
"""Names by digest."""

UNTIL_THE_NEXT_CHANGE = {"index-stale"}
"""Findings of a deep check that are allowed besides harmless ones: the next change, and `gc`, rewrite the index."""

UNTIL_THE_NEXT_USE = {"tree-untrusted"}
"""Findings that are allowed even after `gc`: trees that were about to be replaced, which are rebuilt when used."""


@dataclass(frozen=True)
class State:
    """A store after `gc`: the names of its images by digest, and its files."""

    images: Images
    files: Files
    findings: list[dict[str, Any]] = field(default_factory=list, compare=False)
    said: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Reference:
    """Effects of a command that is not killed: the states before and after, the store without images, its points.

    *untidy* are the images before, without `gc`; *between* is a state that another process makes. *known* is what
    `find` has to answer about each image.
    """

    before: State
    after: State
    untidy: Images
    between: State
    empty: Files
    hits: list[tuple[str, str]]
    seconds: float
    known: dict[str, Shown]


class Trial:
    """A scenario in a box, run once to the end; then as often as wanted with a kill."""

    def __init__(self, box: Box, scenario: Scenario) -> None:
        self.box = box
        self.scenario = scenario
        self.words = self._filled(scenario.words)
        box.made(scenario.name, scenario.prepare, not scenario.unreadable)
        self.reference = self._reference()

    def _filled(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.replace("{place}", str(self.box.place)) for word in words)

    def _command(self, **more: Any) -> Ended:
        if self.scenario.discarded:
            shutil.rmtree(*self._filled((self.scenario.discarded,)), ignore_errors=True)
        meddling = self.scenario.meddling
        if meddling is not None and "kill" in more:
            more["meddling"] = (meddling[0], (*self.box.places(), *meddling[1]))
        if self.scenario.stdin:
            (more["stdin"],) = self._filled((self.scenario.stdin,))
        return self.box.run(*self.words, **more)

    def _begin(self) -> None:
        if self.scenario.running and self.box.root.exists():
            # The store that is replaced has a container that still runs.
            for words in self.scenario.ending:
                self.box.run(*words)
            self.box.await_launchers()
        self.box.put_back(self.scenario.name)
        if self.scenario.running:
            self.box.begin(*self.scenario.running)
        for words in self.scenario.setup:
            self.box.ok(*self._filled(words))

    def _state(self) -> State:
        """The state after `gc`, once the remaining mounts are unmounted."""
        for words in self.scenario.ending:
            ended = self.box.run(*words)
            if ended.status not in {0, NotFoundError.exit_code}:
                raise CommandFailedError(f"{words} ended with {ended.status}: {ended.err}")
        if self.scenario.running:
            self.box.await_launchers()
        self.box.ok("gc")
        look = self.box.look()
        return State(look.images, self.box.files(), look.findings, look.said)

    def _reference(self) -> Reference:
        self._begin()
        if self.scenario.unreadable:
            # The graph is unreadable: the command repairs it, and the result shows the state before.
            self._command(kill=None)
        first = self.box.look()
        untidy = first.images
        before = between = self._state()
        if self.scenario.meddling is not None:
            self.box.ok(*self.scenario.meddling[1])
            between = self._state()
        seconds = []
        for record in (True, False, False, False):
            self._begin()
            ended = self._command(record=record, kill=None)
            if ended.status or ended.survivors:
                raise CommandFailedError(f"{self.scenario.name} ended with {ended.status}: {ended.err}")
            if record:
                hits = ended.hits
            else:
                seconds.append(ended.seconds)
        after = self._state()
        known = first.said["shown"]
        for state in (before, between, after):
            known = fuller(known, state.said["shown"])
        self.box.wipe()
        return Reference(before, after, untidy, between, self.box.files(), hits, sorted(seconds)[1], known)

    def killed(self, kill: Kill) -> tuple[bool, list[str]]:
        """Run the command, kill it as *kill* says, and judge; return whether it was killed, and every fault."""
        self._begin()
        ended = self._command(kill=kill)
        faults = [f"outlived it: {survivor}" for survivor in ended.survivors]
        if "Traceback" in ended.err:
            faults.append(f"a traceback: {ended.err[-1500:]}")
        try:
            faults += self._judged(tidied=kill.whom != PARENT)
        except CommandFailedError as error:
            faults.append(str(error))
        return ended.killed, faults

    def _judged(self, tidied: bool) -> list[str]:
        """Every fault; *tidied* runs `gc` before the command is repeated, and not only then."""
        box, reference = self.box, self.reference
        if self.scenario.unreadable and (again := self._command()).status:
            return [f"done again at once, it ends with {again.status}: {again.err[-1500:]}"]
        look = box.look()
        faults = self._lost(look.images) + wrong(look.said, reference.known)
        if not self.scenario.damaged:
            faults += [f"check finds {f}" for f in look.findings if not _may_be_left(f)]
        if set(box.mounts()) != set(look.mounts):
            faults.append(f"mounted are {box.mounts()}, and recorded {look.mounts}")
        done = look.images == reference.after.images
        done = done and self.scenario.container in ("", *look.containers)
        # To tidy up ends a container that runs, and the command needs it.
        if tidied and not self.scenario.running:
            state = self._state()
            faults += self._lost(state.images) + self._left(state) + wrong(state.said, reference.known)
            if not self.scenario.damaged:
                faults += [f"after gc check finds {f}" for f in state.findings if f["kind"] not in UNTIL_THE_NEXT_USE]
        if self.scenario.meddling is not None:
            # It would have happened anyway, and perhaps has not happened yet.
            box.run(*self.scenario.meddling[1])
        again = self._command()
        if again.status and not (done and again.status in self.scenario.done_already):
            faults.append(f"done again, it ends with {again.status}: {again.err[-1500:]}")
        state = self._state()
        expected = replace(reference.after, files=state.files) if self.scenario.goes_on else reference.after
        if state != expected:
            faults.append(f"done again, it leaves something else: {_difference(state, expected)}")
        faults += [f"in the end check finds {f}" for f in state.findings] + wrong(state.said, reference.known)
        box.wipe()
        if (files := box.files()) != reference.empty:
            faults.append(f"when all is removed, there is {_difference(State({}, files), State({}, reference.empty))}")
        if groups := box.cgroups():
            faults.append(f"control groups are left: {groups}")
        return faults

    def _lost(self, images: Images) -> list[str]:
        known = self.reference
        right = [known.before.images, known.after.images, known.between.images, known.untidy]
        return [
            f"image {digest} is {images.get(digest)}, and may be {[one.get(digest) for one in right]}"
            for digest in {*images, *known.before.images, *known.after.images}
            if images.get(digest) not in [one.get(digest) for one in right]
        ]

    def _left(self, state: State) -> list[str]:
        """Everything that is neither as before nor as after, nor, with states between, partly so."""
        before, after = self.reference.before, self.reference.after
        if state in (before, after, self.reference.between):
            return []
        if self.scenario.atomic:
            nearer = after if state.images == after.images else before
            return [f"after gc there is {_difference(state, nearer)}"]
        known = [one.files for one in (before, after, self.reference.between)]
        return [
            f"after gc, {path} is {state.files.get(path)}"
            for path in {*state.files, *before.files, *after.files}
            if state.files.get(path) not in [files.get(path) for files in known] and not self._is_handed_over(path)
        ]

    def _is_handed_over(self, path: str) -> bool:
        """Whether the file at *path* is managed elsewhere: by a pipeline, or by `check`, which reports the index and
        keeps its findings until they are mended.
        """
        handed_over = self.scenario.handed_over
        return path in {"root/index.json", "root/graph/damage.json"} or bool(
            handed_over and path.startswith(handed_over)
        )


def _may_be_left(finding: dict[str, Any]) -> bool:
    return finding["harmless"] or finding["kind"] in UNTIL_THE_NEXT_CHANGE


def _difference(found: State, expected: State) -> str:
    """The differences, in one line."""
    parts = []
    if found.images != expected.images:
        parts.append(f"images {found.images}, not {expected.images}")
    more = {path: found.files[path] for path in found.files.keys() - expected.files.keys()}
    less = sorted(expected.files.keys() - found.files.keys())
    other = {p: (found.files[p], expected.files[p]) for p in found.files.keys() & expected.files.keys()}
    other = {path: pair for path, pair in other.items() if pair[0] != pair[1]}
    for what, paths in (("too much", more), ("too little", less), ("other", other)):
        if paths:
            parts.append(f"{what}: {paths}")
    return "; ".join(parts)[:1500]


def is_possible(scenario: Scenario) -> bool:
    """Whether this machine can run it: as root, with everything it needs."""
    return os.geteuid() == 0 and not scenario.missing
