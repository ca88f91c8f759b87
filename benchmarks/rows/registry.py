"""Pulling app1 from a registry and pushing it, compared with skopeo and podman; then again, with nothing new."""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.engine import Arstore, Bare, Curl
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman, Skopeo
from benchmarks.registry import Registry
from benchmarks.sampling import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine import Engine
    from benchmarks.ground import Ground
    from benchmarks.process import Command

_NAME = "app1"
_NOTE = (
    "docker-registry on loopback, its storage in the page cache. `requests` counts those that reached it; `pss` is the "
    "peak of all processes of the command together, in MiB, each page divided among those that share it. curl gets the "
    "blobs into files at a time and looks at nothing; `python -c pass` is what any command of arstore begins with."
)
_MIB = 1 << 20
_SEEN = "/var/lib/containers/cache"


def pull(ground: Ground) -> Row:
    """Pull into an empty store, so that the image can be mounted."""
    bars = [
        Bar("pull app1", against=("skopeo",), at_least=5),
        Bar("pull app1, against podman", against=("podman",), at_least=5),
        Bar("peak memory, pull of app1", "pss", at_most=150, unit="MiB"),
    ]
    return _Rows(ground).row("pull-app1", "Pull of app1", _pulls, bars, again=False)


def pull_again(ground: Ground) -> Row:
    """Pull when the store has the image."""
    bars = [
        Bar("pull with nothing new", against=("skopeo",), at_most=2),
        Bar("requests of a pull with nothing new", "requests", against=("skopeo",), at_most=1, unit="requests"),
    ]
    return _Rows(ground).row("pull-again", "Pull of app1 again", _pulls, bars, again=True)


def layout(ground: Ground) -> Row:
    """Copy from the registry to a layout."""
    bars = [
        Bar("registry to layout", against=("skopeo",), at_most=1.3),
        Bar("peak memory, registry to layout", "pss", at_most=150, unit="MiB"),
        Bar("requests, registry to layout", "requests", against=("skopeo",), at_most=1, unit="requests"),
    ]
    return _Rows(ground).row("copy-layout", "Registry to layout, app1", _layouts, bars, again=False)


def layout_again(ground: Ground) -> Row:
    """Copy when the layout has the image."""
    bars = [
        Bar("registry to layout again", against=("skopeo",), at_most_more=0.1),
        Bar("requests, registry to layout again", "requests", against=("skopeo",), at_most=1, unit="requests"),
    ]
    return _Rows(ground).row("copy-layout-again", "Registry to layout again, app1", _layouts, bars, again=True)


def push(ground: Ground) -> Row:
    """Push an image of the store, which came from a layout, to an empty repository."""
    bars = [
        Bar("push app1", against=("skopeo",), at_most=1),
        Bar("peak memory, push of app1", "pss", at_most=150, unit="MiB"),
        Bar("requests of a push", "requests", against=("skopeo",), at_most=1, unit="requests"),
    ]
    return _Rows(ground).row("push-app1", "Push of app1", _pushes, bars, again=False)


def push_again(ground: Ground) -> Row:
    """Push when the repository has the image."""
    bars = [
        Bar("push with nothing new", against=("skopeo",), at_most=2),
        Bar("requests of a push with nothing new", "requests", against=("skopeo",), at_most=1, unit="requests"),
    ]
    return _Rows(ground).row("push-again", "Push of app1 again", _pushes, bars, again=True)


class _Work:
    """The work of one program: its preparation (`begin`), its `command`, and its undoing."""

    def __init__(
        self, label: str, engine: Engine, begin: Callable[[], object], command: Callable[[], Command], fresh: bool
    ) -> None:
        self.label = label
        self.engine = engine
        self.begin = begin
        self.command = command
        self.fresh = fresh


class _Rows:
    """The programs, and the registry that they share."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.registry = Registry(ground)
        self.arstore = Arstore(ground, "arstore")
        self.skopeo = Skopeo(ground, "skopeo")
        self.podman = Podman(ground, "podman")
        self.curl = Curl(ground, "curl")
        self.bare = Bare(ground, "bare")
        self.numbers = count()
        self._users = 0

    def row(
        self, name: str, title: str, works: Callable[[_Rows, bool], list[_Work]], bars: list[Bar], *, again: bool
    ) -> Row:
        """The row of these *works*; with *again*, each was done once before."""
        return Row(name, title, [self._contender(work, again) for work in works(self, again)], bars, _NOTE)

    @property
    def image(self) -> str:
        """app1 in the registry."""
        return f"{self.registry.address}/{_NAME}:1"

    def _contender(self, work: _Work, again: bool) -> Contender:
        def set_up() -> None:
            self._users += 1
            if self._users == 1:
                self.registry.start()
                self._fill()
            work.engine.fresh()
            work.begin()
            if again:
                self.ground.execute(work.command())

        def prepare() -> None:
            if not again:
                # skopeo remembers, outside its store, in which repositories it has seen a blob.
                shutil.rmtree(f"{self.ground.peers_root.rstrip('/')}{_SEEN}", ignore_errors=True)
                if work.fresh:
                    work.engine.fresh()
            self.ground.settle()

        def tear_down() -> None:
            work.engine.discard()
            self._users -= 1
            if not self._users:
                self.registry.stop()

        return Contender(work.label, lambda: self._sample(work), set_up, prepare, tear_down=tear_down)

    def _sample(self, work: _Work) -> Values:
        command, memory = work.command(), Memory()
        before = self.registry.requests()
        done = self.ground.execute(command, memory)
        requests = float(self.registry.requests() - before)
        return {"seconds": [done.seconds], "cpu": [done.cpu], "requests": [requests], "pss": [memory.pss / _MIB]}

    def _fill(self) -> None:
        """Push app1 to the registry with skopeo, which leaves no help for a contender."""
        source = f"oci-archive:{self.ground.seen(self.ground.archive(_NAME))}"
        words = ("--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{self.image}")
        self.ground.execute(self.skopeo.plain(*words))


def _pulls(rows: _Rows, again: bool) -> list[_Work]:
    arstore, skopeo, podman = rows.arstore, rows.skopeo, rows.podman

    def by_arstore() -> Command:
        return arstore.command("pull", "--tls-verify=false", rows.image)

    def by_skopeo() -> Command:
        source, target = f"docker://{rows.image}", skopeo.storage(_NAME)
        return skopeo.plain("--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", source, target)

    def by_podman() -> Command:
        return podman.command("pull", "--quiet", "--tls-verify=false", rows.image)

    return [
        _Work("arstore", arstore, lambda: None, by_arstore, True),
        _Work("skopeo", skopeo, lambda: None, by_skopeo, True),
        _Work("podman", podman, lambda: None, by_podman, True),
        _beneath(rows, again),
    ]


def _beneath(rows: _Rows, again: bool) -> _Work:
    """The lower bound for any client: the bytes alone, or the start of an interpreter if there is nothing to fetch."""
    if again:
        return _Work(rows.bare.label, rows.bare, lambda: None, rows.bare.plain, False)
    return _Work(
        rows.curl.label,
        rows.curl,
        lambda: None,
        lambda: rows.curl.fetching(rows.registry.blobs(f"{_NAME}:1")),
        True,
    )


def _layouts(rows: _Rows, again: bool) -> list[_Work]:
    arstore, skopeo = rows.arstore, rows.skopeo

    def by_arstore() -> Command:
        return arstore.command("copy", "--tls-verify=false", f"docker://{rows.image}", f"oci:{arstore.home}/layout:1")

    def by_skopeo() -> Command:
        source, target = f"docker://{rows.image}", f"oci:{skopeo.place}/layout:1"
        return skopeo.plain("--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", source, target)

    return [
        _Work("arstore", arstore, lambda: None, by_arstore, True),
        _Work("skopeo", skopeo, lambda: None, by_skopeo, True),
        _beneath(rows, again),
    ]


def _pushes(rows: _Rows, again: bool) -> list[_Work]:
    arstore, skopeo = rows.arstore, rows.skopeo

    def target(who: str) -> str:
        # A repository that does not exist yet. Even so, docker-registry has the blobs in its common storage.
        number = "again" if again else str(next(rows.numbers))
        return f"docker://{rows.registry.address}/{who}/{number}:1"

    def by_arstore() -> Command:
        return arstore.command("push", "--tls-verify=false", _NAME, target("arstore"))

    def by_skopeo() -> Command:
        words = ("--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false")
        return skopeo.plain(*words, f"oci:{skopeo.place}/layout:x", target("skopeo"))

    def make_layout() -> None:
        archive = rows.ground.archive(_NAME)
        rows.ground.execute(skopeo.layout_command(archive, f"{skopeo.home}/layout"))

    return [
        _Work("arstore", arstore, lambda: arstore.import_(rows.ground.archive(_NAME), _NAME), by_arstore, False),
        _Work("skopeo", skopeo, make_layout, by_skopeo, False),
    ]
