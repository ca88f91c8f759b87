"""Log verbosity, and the place of the store."""

from __future__ import annotations

import pytest

from arstore.cli.session import LEVELS, Session


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_told_at_which_level(capsys, level, quiet):
    session = Session()
    session.level, session.quiet = level, quiet
    session.debug("d")
    session.note("n\n2")
    session.warn("w")
    told = {
        "error": [],
        "warning": ["arstore: warning: w"],
        "info": ["arstore: n\\n2", "arstore: warning: w"],
        "debug": ["arstore: d", "arstore: n\\n2", "arstore: warning: w"],
    }
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ([] if quiet else told[level])
    assert captured.out == ""


def test_both_directories_as_given(tmp_path):
    session = Session()
    session.root, session.runroot = str(tmp_path / "a"), str(tmp_path / "b")
    assert session.directories() == (str(tmp_path / "a"), str(tmp_path / "b"))


def test_the_default_root_given_by_name_has_the_default_runroot(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    session = Session()
    assert session.directories() == ("/var/lib/ar", "/run/ar")
    session.root = "/var/lib/ar"
    assert session.directories() == ("/var/lib/ar", "/run/ar")
    session.root = "/srv/images"
    assert session.directories()[1].startswith("/run/ar/stores/")
