"""Write the single file: the modules of each Python version from wheels, those that are the same for all only once."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).resolve().parent
_DATA = re.compile(r"[^/]+\.data/([^/]+)/(.*)")
_DATE = (1980, 1, 1, 0, 0, 0)


def write(version: str, platform: str, wheels: Mapping[str, Iterable[Path]]) -> bytes:
    """Return the single file with the modules of *wheels*, which are given for each Python, such as "cp313"."""
    return assemble(version, platform, {tag: _modules(paths) for tag, paths in wheels.items()})


def assemble(version: str, platform: str, trees: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """Return the single file with the modules of *trees*: for each Python, the paths and contents of its files."""
    payload = _payload(trees)
    digest = hashlib.sha256(payload).hexdigest()
    minors = sorted(int(tag.removeprefix("cp3")) for tag in trees)
    libc, _, machine = platform.partition("-")
    values = {
        "VERSION": version,
        "PLATFORM": platform,
        "KEY": f"{version}-{digest[:20]}",
        "DIGEST": digest,
        "MACHINE": machine,
        "LIBC": libc,
        "NAMES": " ".join(f"python3.{minor}" for minor in reversed(minors)),
        "PYTHONS": ", ".join(f"3.{minor}" for minor in minors),
    }
    boot = _filled("boot.py", values).replace("= ()  # @MINORS@", f"= {tuple(minors)}")
    members = {"__main__.py": _filled("main.py", values), "arstore.py": boot}
    members["arstore_unpack.py"] = _filled("unpack.py", values)
    stream = io.BytesIO()
    stream.write(_filled("header.sh", values).encode())
    # Stored: compressed modules would need zlib at each start, and the inner archive has to be seekable.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in members.items():
            archive.writestr(_member(name), text)
        archive.writestr(_member("modules.zip"), payload)
    return stream.getvalue()


def _payload(trees: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """The inner archive: below `all/` what all versions have in common, below `cp313/` what only this one has."""
    first, *others = trees.values()
    common = {path for path, data in first.items() if all(tree.get(path) == data for tree in others)}
    files = {f"all/{path}": first[path] for path in common}
    for tag, tree in trees.items():
        files |= {f"{tag}/{path}": data for path, data in tree.items() if path not in common}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(files):
            archive.writestr(_member(path), files[path], zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def _modules(wheels: Iterable[Path]) -> dict[str, bytes]:
    """The files that installing *wheels* puts into site-packages; licences and metadata too, programs not."""
    files = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                spread = _DATA.fullmatch(name)
                path = name if spread is None else spread[2] if spread[1] in ("purelib", "platlib") else ""
                if path and not path.endswith(("/", ".dist-info/RECORD")):
                    files[path] = archive.read(name)
    return files


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    return info


def _filled(name: str, values: Mapping[str, str]) -> str:
    """The text of the file *name* of this directory, with each `@NAME@` replaced."""
    return re.sub(r"@([A-Z]+)@", lambda found: values.get(found[1], found[0]), (HERE / name).read_text())
