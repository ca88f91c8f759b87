"""Wheels of arstore and of everything that it needs: arstore's is built here, the others are downloaded by pip.

pip evaluates the markers of requirements for the Python that runs it, even when it downloads for another one. So they
are evaluated here, and pip gets one generation of requirements after the other, without their dependencies.
"""

from __future__ import annotations

import email.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from bundling.target import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundling.target import Target

CHECKOUT = Path(__file__).resolve().parents[2]
OLDEST = 315532800
"""The date of every file, 1980-01-01: the oldest that a zip archive can hold."""
_PARTS = ("pyproject.toml", "README.md", "LICENSE", "arstore")


def own_wheel(directory: Path) -> Path:
    """Build the wheel of this checkout into *directory*. Raises BundleError."""
    with tempfile.TemporaryDirectory(prefix="arstore-bundle-") as place:
        source, built = Path(place, "source"), Path(place, "built")
        _export(source)
        # A configured constraint is for what is installed, not for what builds.
        _pip(["wheel", "--no-deps", "--wheel-dir", str(built), str(source)], SOURCE_DATE_EPOCH=str(OLDEST))
        (wheel,) = built.glob("arstore-*.whl")
        return Path(shutil.copy(wheel, directory))


def _export(place: Path) -> None:
    """Copy what the wheel is built of, with the same modes and dates on every machine."""
    place.mkdir()
    for part in _PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, place / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(CHECKOUT / part, place / part)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (OLDEST, OLDEST))


def collect(own: Path, target: Target, extras: Iterable[str], constraint: str | None) -> list[Path]:
    """Download into the directory of *own*, arstore's wheel, all that it needs on *target*; return all its wheels.

    Raises BundleError.
    """
    found: dict[str, Path] = {}
    wanted: dict[str, Requirement] = {}
    queue = _requirements(own, target, extras)
    while queue:
        for one in queue:
            name = canonicalize_name(one.name)
            if name in wanted:
                one.specifier &= wanted[name].specifier
                one.extras |= wanted[name].extras
            wanted[name] = one
        names = {canonicalize_name(one.name) for one in queue}
        missing = [name for name in sorted(names) if not _suits(found.get(name), wanted[name])]
        came = _download([wanted[name] for name in missing], target, own.parent, constraint)
        found |= came
        queue = [one for name, wheel in came.items() for one in _requirements(wheel, target, wanted[name].extras)]
    return [own, *(found[name] for name in sorted(found))]


def _requirements(wheel: Path, target: Target, extras: Iterable[str]) -> list[Requirement]:
    """The requirements of *wheel* that hold on *target*, with the extras named."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)
    known = {canonicalize_name(name) for name in metadata.get_all("Provides-Extra", [])}
    asked = {canonicalize_name(name) for name in extras}
    if asked - known:
        raise BundleError(f"{wheel.name} has no extra {', '.join(sorted(asked - known))}")
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return [
        one
        for one in requirements
        if one.marker is None
        or any(one.marker.evaluate({**target.markers(), "extra": extra}) for extra in ("", *sorted(asked)))
    ]


def _suits(wheel: Path | None, wanted: Requirement) -> bool:
    return wheel is not None and wanted.specifier.contains(parse_wheel_filename(wheel.name)[1], prereleases=True)


def _download(
    wanted: Sequence[Requirement], target: Target, directory: Path, constraint: str | None
) -> dict[str, Path]:
    """Wheels for *wanted*, by their normalized names, also put into *directory*."""
    if not wanted:
        return {}
    texts = [f"{one.name}{one.specifier}" for one in wanted]
    also = ["--constraint", constraint] if constraint else []
    with tempfile.TemporaryDirectory(prefix="arstore-bundle-") as place:
        try:
            binary = ["--only-binary", ":all:", *target.pip_options()]
            _pip(["download", "--no-deps", "--dest", place, *binary, *also, *texts])
        except BundleError:
            if not target.is_here():
                raise
            # Something has no wheel for this platform, or none that is old enough for others too; it may build here.
            _pip(["wheel", "--no-deps", "--wheel-dir", place, *also, *texts])
        came = {}
        for wheel in sorted(Path(place).glob("*.whl")):
            came[str(parse_wheel_filename(wheel.name)[0])] = Path(shutil.copy(wheel, directory))
    return came


def _pip(words: list[str], **variables: str) -> None:
    """Run pip with these words. Raises BundleError with the lines in which pip says what failed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, **variables}
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"\s*(ERROR|error):", line)]
        raise BundleError("pip failed: " + "\n    ".join(errors or lines[-5:]))
