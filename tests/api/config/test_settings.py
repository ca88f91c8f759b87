"""Merging: the user's file over the host's, key by key; and where the files are."""

from __future__ import annotations

import os

import pytest

from arstore.api import places
from arstore.api.config import settings
from arstore.api.opening import directories_of
from arstore.errors import ConfigFileError, UsageError
from arstore.tar.limits import Limits


@pytest.fixture
def host(tmp_path):
    """Directories in the place of /etc and of XDG's, and a function that reads what is in them."""

    class Host:
        def __init__(self):
            self.etc, self.home = tmp_path / "etc", tmp_path / "home"
            self.environ = {"XDG_CONFIG_HOME": str(self.home), "XDG_RUNTIME_DIR": str(tmp_path)}

        def write(self, place, text):
            path = place / "arstore/config.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return str(path)

        def files(self, uid=0, given=None):
            return places.config_files(self.environ, uid, given, str(self.etc))

        def read(self, uid=1000, given=None):
            return settings.read_settings(self.files(uid, given), self.environ, uid, etc=str(self.etc), keep=False)

    return Host()


def test_the_files(host, tmp_path):
    assert host.files() == []
    etc = host.write(host.etc, "")
    assert host.files() == [etc]
    home = host.write(host.home, "")
    assert host.files() == [home, etc]
    assert host.files(given="/x/y") == ["/x/y"]
    assert host.files(given=os.devnull) == []
    host.environ["ARSTORE_CONFIG"] = str(tmp_path / "z")
    assert host.files() == [str(tmp_path / "z")]
    assert host.files(given="/x/y") == ["/x/y"]
    host.environ["ARSTORE_CONFIG"] = os.devnull
    assert host.files() == []
    assert places.config_files({"HOME": "/h"}, 0, None, "/nowhere") == []


def test_an_empty_name_is_refused(host):
    with pytest.raises(UsageError, match="--config: is empty"):
        host.files(given="")
    host.environ["ARSTORE_CONFIG"] = ""
    with pytest.raises(UsageError, match="ARSTORE_CONFIG: is empty"):
        host.files()


def test_a_dangling_link_is_a_file_that_does_not_exist(host):
    path = host.write(host.etc, "")
    os.unlink(path)
    os.symlink("/nonexistent", path)
    with pytest.raises(ConfigFileError, match="does not exist"):
        host.read()


def test_the_users_file_wins_key_by_key(host):
    etc = host.write(host.etc, 'runtime = "runc"\ntree = "erofs"\n[limits]\nratio = 5\ndepth = 6\n')
    home = host.write(host.home, 'runtime = "crun"\n[limits]\ndepth = 7\n[load]\nrequire-label = false\n')
    found = host.read()
    assert (found.runtime, found.tree, found.require_label) == ("crun", "erofs", False)
    assert found.limits == {"ratio": 5, "depth": 7}
    assert found.limited(Limits()) == Limits(ratio=5, depth=7)
    assert found.origins == {
        "runtime": home,
        "tree": etc,
        "limits.ratio": etc,
        "limits.depth": home,
        "load.require-label": home,
    }
    assert found.files == (home, etc)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('high-water = "2g"\nlow-water = "3g"', "low-water is 3221225472 bytes, and high-water only 2147483648"),
        ('max-size = "1g"\nhigh-water = "2g"', "high-water is 2147483648 bytes, and max-size only 1073741824"),
        ('max-size = "1g"\nlow-water = 1\nhigh-water = 2000000000', "high-water is 2000000000 bytes, and max-size"),
        ("low-water = 5", "low-water needs high-water"),
    ],
)
def test_sizes_in_the_wrong_order_are_refused(host, text, why):
    host.write(host.home, text)
    with pytest.raises(ConfigFileError, match=why):
        host.read()


def test_sizes_are_merged_and_0_is_no_limit(host):
    host.write(host.etc, 'max-size = "1g"\nhigh-water = "500m"\nlow-water = "400m"\nprotect = ["a", "b"]')
    host.write(host.home, 'max-size = 0\nlow-water = "300m"\nprotect = ["c"]')
    found = host.read()
    assert (found.max_size, found.high_water, found.low_water) == (0, 500 << 20, 300 << 20)
    assert found.protects == ("c",)


def test_a_list_of_additional_stores_is_taken_as_a_whole(host):
    host.write(host.etc, '[[additional-store]]\npath = "/a"\n[[additional-store]]\npath = "/b"\n')
    assert host.read().additional == [("/a", ""), ("/b", "")]
    host.write(host.home, "additional-store = []\n")
    assert host.read().additional == []


def test_the_hosts_directories_are_for_root(host):
    host.write(host.etc, 'root = "/srv/a"\nrunroot = "/run/a"\nruntime = "crun"\n')
    assert host.read(uid=0)[:3] == ("/srv/a", "/run/a", "crun")
    assert host.read(uid=1000)[:3] == (None, None, "crun")
    given = host.write(host.home, 'root = "/srv/b"\n')
    assert host.read(uid=1000).root == "/srv/b"
    assert host.read(uid=1000, given=given).root == "/srv/b"


def test_the_home_directory(host, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    host.write(host.home, 'root = "~/images"\n[[additional-store]]\npath = "~/more"\n')
    found = host.read()
    assert (found.root, found.additional) == ("/home/somebody/images", [("/home/somebody/more", "")])
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    with pytest.raises(ConfigFileError, match="this user has no home directory"):
        host.read()


def test_a_configured_runroot_belongs_to_the_configured_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    both = {"root": "/srv/a", "runroot": "/run/a"}
    assert directories_of(None, None, settings.Settings(**both)) == ("/srv/a", "/run/a")
    assert directories_of("/srv/a", None, settings.Settings(**both)) == ("/srv/a", "/run/a")
    other = directories_of("/srv/b", None, settings.Settings(**both))
    assert other[0] == "/srv/b"
    assert other[1].startswith("/run/a/stores/")
    assert directories_of("/srv/b", "/run/b", settings.Settings(**both)) == ("/srv/b", "/run/b")
    assert directories_of(None, None, settings.Settings(runroot="/run/a")) == ("/var/lib/ar", "/run/a")
    # Two stores never share a runroot: the configured root alone is like a root that was given.
    alone = directories_of(None, None, settings.Settings(root="/srv/a"))
    assert alone == directories_of("/srv/a", None)
    assert alone[1].startswith("/run/ar/stores/")
