import os
import subprocess
import sys

import pytest
from support import programs

from arstore.runtime.trial_root import mount_trial_root

pytestmark = pytest.mark.root

_TRIED = """
import os, sys
from arstore.errors import ArstoreError
from arstore.runtime.discovery import find_runtime
before = os.listdir("/run")
try:
    print(find_runtime(None, "/tmp/run").path)
except ArstoreError as error:
    print(error)
    sys.exit(1)
print(os.listdir("/run") == before)
"""


def in_a_mount_namespace(script, *words):
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_trial_writes_nothing_into_the_hosts_directories():
    """A runtime makes missing mount points: the one in /run makes programs take the host for a container."""
    if programs.runtime()[1]:
        pytest.skip(programs.runtime()[1])
    script = 'mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mount -o remount,bind,ro /; exec "$@"'
    path, same = in_a_mount_namespace(script, sys.executable, "-c", _TRIED).splitlines()
    assert os.path.isabs(path)
    assert same == "True"


def test_it_shows_programs_and_nothing_else(tmp_path):
    if why := programs.why_no_mounts():
        pytest.skip(why)
    host = tmp_path / "host"
    for name in ("usr/bin", "home/me", "etc/alternatives"):
        (host / name).mkdir(parents=True)
    (host / "bin").symlink_to("usr/bin")
    (host / "usr/bin/true").write_text("true")
    (host / "etc/alternatives/true").symlink_to("/usr/bin/true")
    (host / "etc/shadow").touch()
    (host / "etc/ld.so.cache").write_text("cache")
    (tmp_path / "root").mkdir()
    script = 'cd "$0"; "$@"; find root | sort; cat root/bin/true root/etc/ld.so.cache; touch root/new'
    code = f"from {mount_trial_root.__module__} import *; mount_trial_root('{tmp_path}/root', '{host}')"
    said = in_a_mount_namespace(script.replace("$0", str(tmp_path)), sys.executable, "-c", code)
    names = ("", "/bin", "/etc", "/etc/alternatives", "/etc/alternatives/true", "/etc/ld.so.cache")
    expected = "".join(f"root{name}\n" for name in (*names, "/usr", "/usr/bin", "/usr/bin/true"))
    assert said == f"{expected}truecache"
    assert os.listdir(tmp_path / "root") == []
