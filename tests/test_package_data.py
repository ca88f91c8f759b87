"""Files that are not modules: each is named in pyproject.toml, or a wheel would lack it."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "arstore"


def test_every_data_file_is_packaged():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["arstore"]
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".py"]
    data = [str(path) for path in files if "__pycache__" not in path.parts]
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in data)] == []
