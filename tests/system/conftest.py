"""Fixtures of the system tests: a store driven through the command line alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import images, stores
from support.cli import REPOSITORY, Arstore
from support.copying import copy_store
from support.registry_client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connect"]


@pytest.fixture
def store(store_root: Path, runroot: Path) -> Iterator[Arstore]:
    """An empty store; at the end, the command line unmounts its mounts."""
    stores.made(store_root, runroot).close()
    arstore = Arstore(store_root, runroot)
    yield arstore
    if str(runroot) in Path("/proc/self/mountinfo").read_text(errors="surrogateescape"):
        arstore.run("umount", "--all")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An OCI archive with the example image, named example:1."""
    return images.write_oci_archive(tmp_path / "example.tar", images.example())


@pytest.fixture
def filled(store: Arstore, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Arstore:
    """A store with the example image, that of *archive*."""
    copy_store(tmp_path_factory, images.example(), store.root, store.runroot)
    return store


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory, busybox):
    """A pipeline image in a file, without a name."""
    path = tmp_path_factory.mktemp("pipeline") / "pipeline.tar.gz"
    subprocess.run([sys.executable, REPOSITORY / "tools" / "pipeline_image.py", path], check=True)
    return path
