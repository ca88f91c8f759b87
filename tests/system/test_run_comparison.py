"""Some rows of `tools/run-comparison`, with podman of this host or of the root directory in ARSTORE_PEERS."""

from __future__ import annotations

import os

import pytest
from runcompare import verdict
from runcompare.rows.table import BASELINE
from runcompare.system import CannotError, System
from support import programs

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.long]

EQUAL = {
    "options: --user",
    "options: --cap-add",
    "options: --memory",
    "identity and groups: -u app:crew",
    "workdir and HOME: -w /work",
    "limits: --ulimit nofile=50",
    "mounts and volumes: -v $PWD/src:/mnt:ro",
    "streams and signals: TERM to the program",
    "statuses: 77",
    "statuses: no such command",
}


def test_rows_of_the_comparison(tmp_path):
    peers = os.environ.get("ARSTORE_PEERS", "")
    if not peers and programs.program("podman") is None:
        pytest.skip("not installed: podman; or ARSTORE_PEERS=DIR, see tools/peers")
    # Colons separate paths, and short paths keep room for the sockets of containers.
    system = System(tmp_path, peers)
    pattern = "^(" + "|".join(map(_escaped, EQUAL)) + ")$"
    try:
        lines = list(system.rows(pattern))
    except CannotError as error:
        pytest.skip(str(error))
    assert lines[0].row == BASELINE
    baseline = verdict.differences(lines[0].ours, lines[0].theirs)
    verdicts = {line.row.key: verdict.judge(*line, baseline) for line in lines[1:]}
    assert set(verdicts) == EQUAL
    assert {key: one.why for key, one in verdicts.items() if one.verdict != verdict.EQUAL} == {}


def _escaped(text: str) -> str:
    import re

    return re.escape(text)
