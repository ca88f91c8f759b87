"""Default places of the store and the runtime state."""

from __future__ import annotations

import os
import stat

import pytest

from arstore.api import places
from arstore.errors import PermissionDeniedError


def test_root_has_the_systems_places():
    environ = {"XDG_DATA_HOME": "/data", "XDG_RUNTIME_DIR": "/runtime"}
    assert places.default_root(environ, 0) == "/var/lib/ar"
    assert places.default_runroot(environ, 0) == "/run/ar"


def test_others_have_xdgs(monkeypatch):
    environ = {"XDG_DATA_HOME": "/data", "XDG_RUNTIME_DIR": "/runtime"}
    assert places.default_root(environ, 1000) == "/data/arstore"
    assert places.default_runroot(environ, 1000) == "/runtime/arstore"
    monkeypatch.setenv("HOME", "/home/somebody")
    assert places.default_root({}, 1000) == "/home/somebody/.local/share/arstore"
    # basedir-spec: a path that is not absolute must be ignored.
    assert places.default_root({"XDG_DATA_HOME": "data"}, 1000) == "/home/somebody/.local/share/arstore"


def test_a_root_of_ones_own_has_a_runroot_of_its_own(tmp_path):
    one = places.default_runroot({}, 0, str(tmp_path / "one"))
    other = places.default_runroot({}, 0, str(tmp_path / "other"))
    assert one != other
    assert one.startswith("/run/ar/stores/")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert places.default_runroot({}, 0, str(tmp_path / "link")) == one


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A place for the private directory, instead of the one in /tmp."""
    real = places._private
    monkeypatch.setattr(places, "_private", lambda path, uid: real(str(tmp_path / os.path.basename(path)), uid))
    return tmp_path


def test_without_a_runtime_directory_a_private_one_is_made(temporary):
    uid = 4_000_000_123
    assert not os.path.exists(f"/run/user/{uid}")
    path = temporary / f"arstore-{uid}"
    assert places.default_runroot({}, uid) == str(path / "arstore")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["symlink", "file", "open", "foreign"])
def test_what_somebody_else_prepared_is_refused(temporary, kind):
    uid = os.geteuid() if kind == "open" else 4_000_000_123
    path = temporary / f"arstore-{uid}"
    if kind == "symlink":
        path.symlink_to("/etc")
    elif kind == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o755 if kind == "open" else 0o700)
    with pytest.raises(PermissionDeniedError) as caught:
        places._private(str(path), uid)
    assert "XDG_RUNTIME_DIR" in caught.value.hint
