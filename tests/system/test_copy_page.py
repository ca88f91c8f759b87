"""The examples of docs/copy.md, run as printed there."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from support import images, stores
from support.cli import REPOSITORY


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/copy.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(3))
def test_the_examples(tmp_path, store, number):
    source = images.write_oci_archive(
        tmp_path / "x.tar", images.example(["app:1"]), stores.simple("base", names=("base:1",))
    )
    store.ok("import", source)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name, line in (("arstore", " ".join(map(str, store.words()))), ("ssh", "shift; exec")):
        (bin_directory / name).write_text(f'#!/bin/sh\n{"exec " if name == "arstore" else ""}{line} "$@"\n')
        (bin_directory / name).chmod(0o755)
    place = tmp_path / "empty"
    place.mkdir()
    environment = store.environment(PATH=f"{bin_directory}:{os.environ['PATH']}")
    subprocess.run(["sh", "-ec", blocks()[number]], cwd=place, env=environment, check=True, timeout=120)
    assert os.listdir(place)


def test_all_are_tried():
    assert len(blocks()) == 3
