"""A case: one attempt of a trial. Helpers make many cases of one table: layers or documents, an entry point, a form."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images

from hostile.trial import Faults, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FORMS = ("erofs", "directory")
ENTRIES = ("oci-archive", "layout", "docker-archive", "dir", "stdin")
NAME = "hostile:1"


@dataclass(frozen=True)
class Case:
    """One attempt, with its own store."""

    group: str
    """The class of attacks in hostile.md."""
    name: str
    form: str
    attempt: Callable[[Trial], None]
    runs: bool = False
    """True if the case runs a container."""

    @property
    def title(self) -> str:
        """Name of the case, which is unique."""
        return f"{self.group}: {self.name}, {self.form}"

    def tried(self, directory: Path | None = None) -> Faults:
        """Run the case in a new place below *directory* and return what was wrong."""
        trial = Trial(Path(tempfile.mkdtemp(prefix="hostile-", dir=directory)), self.form)
        try:
            self.attempt(trial)
            return trial.finish()
        finally:
            trial.close()


@dataclass(frozen=True)
class Source:
    """Input of `import`: words, and the files for stdin."""

    words: tuple[str | Path, ...]
    data: tuple[Path, ...] = ()


def written(entry: str, place: Path, picture: images.Picture, **more: Any) -> Source:
    """Write *picture* for an entry point; *more* as for `layout_files`, where that applies."""
    place.mkdir(parents=True, exist_ok=True)
    if entry == "docker-archive":
        return Source((images.write_docker_archive(place / "hostile.tar", picture),))
    if entry == "dir":
        return Source(("--name", NAME, images.write_dir(place / "hostile", picture)))
    if entry == "layout":
        return Source((images.write_layout(place / "layout", picture, **more),))
    archive = images.write_oci_archive(place / "hostile.oci.tar", picture, **more)
    return Source(("-",), (archive,)) if entry == "stdin" else Source((archive,))


@dataclass(frozen=True)
class Row:
    """Layers, bottom first, that *make* returns for the victim's path, and the expected outcome.

    With *kinds* they must be refused with one of these errors. Otherwise a mount and a copy must show *inside*: `{out}`
    in names and targets is replaced by the victim's path.
    """

    make: Callable[[str], list[Any]]
    kinds: tuple[str, ...] = ()
    inside: Mapping[str, Any] | None = None
    config: Mapping[str, Any] | None = None


def bad(make: Callable[[str], list[Any]], *kinds: str) -> Row:
    """One layer that is refused."""
    return Row(lambda out: [make(out)], kinds)


def good(make: Callable[[str], list[Any]], inside: Mapping[str, Any]) -> Row:
    """One layer that is contained."""
    return Row(lambda out: [make(out)], (), inside)


def stack(make: Callable[[str], list[Any]], *kinds: str, inside: Mapping[str, Any] | None = None) -> Row:
    """Several layers."""
    return Row(make, kinds, inside)


def layer_cases(group: str, rows: Mapping[str, Row]) -> Iterator[Case]:
    """Each row in both forms, with entry points in turn: the two forms of one row use different ones."""
    for number, (name, row) in enumerate(rows.items()):
        for shift, form in enumerate(FORMS):
            entry = ENTRIES[(number + 2 * shift) % len(ENTRIES)]
            yield Case(group, f"{name}, {entry}", form, _layers(row, entry))


def _layers(row: Row, entry: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        out = str(trial.victim.path)
        layers = [images.layer(one, "none" if entry == "docker-archive" else "gzip") for one in row.make(out)]
        picture = images.image(*layers, names=[NAME], config=row.config)
        source = written(entry, trial.source, picture)
        bring(
            trial,
            source,
            row.kinds,
            {filled(name, out): filled(what, out) for name, what in (row.inside or {}).items()},
        )

    return attempt


def bring(trial: Trial, source: Source, kinds: tuple[str, ...], inside: Mapping[str, Any], *options: str) -> None:
    """Import: it must be refused with one of *kinds*, or else be contained and show *inside*."""
    words = ("import", "--tree", trial.form, *options, *source.words)
    if kinds:
        trial.refused(kinds, *words, data=source.data)
    elif not trial.must(*words, data=source.data).status:
        trial.looked_into(NAME, inside)


def filled(what: Any, out: str) -> Any:
    """*what* with the victim's path in place of `{out}`."""
    if isinstance(what, str):
        return what.replace("{out}", out).lstrip("/")
    if isinstance(what, tuple):
        return (what[0], what[1].replace("{out}", out))
    return what


def every(
    group: str, names: Mapping[str, Callable[[Trial], None]], forms: Iterable[str] = FORMS, *, runs: bool = False
) -> Iterator[Case]:
    """Attempts that differ only in the form."""
    for name, attempt in names.items():
        for form in forms:
            yield Case(group, name, form, attempt, runs)


def up(out: str) -> str:
    """A relative path to *out* from any directory."""
    return "../" * 40 + os.fspath(out).lstrip("/")
