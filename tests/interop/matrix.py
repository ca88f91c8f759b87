"""Every tool writes every kind, and every tool reads what each of them wrote."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from support import craneregistry, dockerregistry, images

from interop.reading import CRANE, DOCKER_ARCHIVE, KINDS, REGISTRIES, REGISTRY, Seen, seen
from interop.tools import TOOLS, Cannot, FailedError, Runner, Sample, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SAME, ANEW, CANNOT, FAILED = "same", "anew", "cannot", "failed"
"""Outcomes: every digest is that of the source; only the configs' are; the tool has no way; the result is wrong."""


class Cell(NamedTuple):
    """Result of a reader on a writer's output; `why` explains all outcomes but SAME."""

    several: bool
    kind: str
    writer: str
    reader: str
    outcome: str
    why: str = ""


def samples(place: Path) -> list[Sample]:
    """An image of this host's platform, and an index of two platforms, in layouts below *place*."""

    def image(text: str, **more: str) -> images.Picture:
        layers = [
            images.layer([images.directory("./"), images.file(f"{text}-{number}", text.encode() * 1000)])
            for number in range(2)
        ]
        return images.image(*layers, config={"Cmd": ["/bin/sh"], "Env": ["A=b"]}, **more)

    found = []
    mine, other = image("mine"), image("other", architecture="s390x")
    alone = Seen(mine.digest, frozenset([mine.config_digest]))
    both = images.index(mine, other)
    for several, part in ((False, mine), (True, both)):
        name = f"registry.example/interop/{'several' if several else 'single'}:1"
        layout = place / ("several" if several else "single")
        images.write_layout(layout, _named(part, name))
        whole = Seen(both.digest, frozenset([mine.config_digest, other.config_digest]))
        found.append(Sample(layout, name, several, whole if several else alone, alone))
    return found


def _named(part: images.Picture | images.Collection, name: str) -> images.Picture | images.Collection:
    from dataclasses import replace

    return replace(part, names=(name,))


PROGRAMS = {REGISTRY: "docker-registry", CRANE: "crane"}
"""Functions that serve each kind of registry."""


@contextmanager
def registry(kind: str, runner: Runner) -> Iterator[str]:
    """The registry of this kind, without images. Gives host and port."""
    path = runner.work / PROGRAMS[kind]
    path.mkdir()
    port = dockerregistry.free_port()
    if kind == CRANE:
        words = ["crane", *craneregistry.words(path, port)]
    else:
        words = ["docker-registry", "serve", str(dockerregistry.write_config(path, port))]
    with dockerregistry.listening(runner.command(*words), port, path / "log", runner.environment) as host:
        yield host


def run(runner: Runner, kinds: Sequence[str] = KINDS, tell: Callable[[str], object] = print) -> Iterator[Cell]:
    """Try everything. Output is removed with the runner's directory; registries that are not installed are left out."""
    tools = {tool.name: tool(runner) for tool in TOOLS if all(map(runner.has, tool.programs))}
    kinds = [kind for kind in kinds if kind not in REGISTRIES or runner.has(PROGRAMS[kind])]
    with ExitStack() as stack:
        hosts = {kind: stack.enter_context(registry(kind, runner)) for kind in kinds if kind in REGISTRIES}
        for sample in samples(runner.work):
            for kind in kinds:
                for writer in tools.values():
                    form = "several" if sample.several else "single"
                    beside = runner.work / f"{writer.name}-{PROGRAMS.get(kind, kind)}-{form}"
                    place = f"{hosts[kind]}/{writer.name}/{form}:1" if kind in hosts else beside
                    tell(f"{writer.name} writes {beside.name}")
                    why, outcome = _written(writer, sample, kind, place, beside)
                    for reader in tools.values():
                        about = (sample.several, kind, writer.name, reader.name)
                        if outcome:
                            yield Cell(*about, outcome, why)
                        else:
                            yield _read(about, writer, reader, sample, place, beside)


def _written(writer: Tool, sample: Sample, kind: str, place: Path | str, beside: Path) -> tuple[str, str]:
    """Why nothing was written, and the outcome; two empty texts if it was written."""
    scratch = beside.with_name(f"{beside.name}.scratch")
    scratch.mkdir()
    try:
        writer.write(sample, kind, place, scratch)
        configs = seen(kind, place).configs
    except Cannot as error:
        return str(error), CANNOT
    except (FailedError, OSError, ValueError, KeyError) as error:
        return f"writing: {error}", FAILED
    finally:
        shutil.rmtree(scratch)
    if configs != sample.seen.configs:
        return f"writing: has the configs {sorted(configs)}", FAILED
    return "", ""


def _read(
    about: tuple[bool, str, str, str], writer: Tool, reader: Tool, sample: Sample, place: Path | str, beside: Path
) -> Cell:
    kind = about[1]
    scratch = beside.with_name(f"{beside.name}-by-{reader.name}")
    scratch.mkdir()
    try:
        found = reader.read(kind, place, sample.name, sample.several, scratch)
    except Cannot as error:
        return Cell(*about, CANNOT, str(error))
    except (FailedError, OSError, ValueError, KeyError) as error:
        return Cell(*about, FAILED, str(error) or type(error).__name__)
    written = seen(kind, place)
    # A tool that takes one platform of several may still use the digest of the index, as podman does.
    right = (sample.seen.configs, sample.mine.configs, frozenset())
    if found.top in {sample.seen.top, sample.mine.top} and found.configs in right:
        return Cell(*about, SAME)
    if kind == DOCKER_ARCHIVE and found.configs == sample.seen.configs:
        return Cell(*about, ANEW, "a docker-archive has no manifest: who reads it makes one")
    if writer.rewrites and (found.top == written.top or found.configs in (sample.seen.configs, sample.mine.configs)):
        return Cell(*about, ANEW, writer.rewrites)
    return Cell(*about, FAILED, f"sees {found.top} with {sorted(found.configs)}")
