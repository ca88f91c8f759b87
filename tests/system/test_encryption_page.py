"""The examples of docs/encryption.md, run as printed there."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from support import images
from support.cli import REPOSITORY

pytestmark = pytest.mark.tools("openssl")


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/encryption.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_examples(tmp_path, store):
    store.ok("import", images.write_oci_archive(tmp_path / "x.tar", images.example(["app:1"])))
    bin_directory, place = tmp_path / "bin", tmp_path / "empty"
    bin_directory.mkdir()
    place.mkdir()
    (bin_directory / "arstore").write_text(f'#!/bin/sh\nexec {" ".join(map(str, store.words()))} "$@"\n')
    (bin_directory / "arstore").chmod(0o755)
    environment = store.environment(PATH=f"{bin_directory}:{os.environ['PATH']}")
    found = blocks()
    assert len(found) == 3
    for block in found:
        subprocess.run(["sh", "-ec", block], cwd=place, env=environment, check=True, timeout=120)
    for name, encrypted in (("two-readers", [False, False, True]), ("one-reader", [True, True, True])):
        (entry,) = json.loads((place / name / "index.json").read_bytes())["manifests"]
        raw = (place / name / "blobs" / "sha256" / entry["digest"][7:]).read_bytes()
        types = [layer["mediaType"].endswith("+encrypted") for layer in json.loads(raw)["layers"]]
        assert types == encrypted
