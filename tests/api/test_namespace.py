"""`arstore.unshare()`: a program becomes root in a user namespace, and then uses a store as root does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import images, ordinary

PICTURE = images.image(images.layer([images.file("far", b"far", uid=1234)]), names=["app:1"])

PROGRAM = """
import os, sys, arstore
root, archive = sys.argv[1:]
with arstore.open(root, config="/dev/null") as store:
    store.import_image(archive)
    try:
        with store.mounted("app:1"):
            pass
    except arstore.errors.PermissionDeniedError as error:
        print("refused:", "arstore unshare" in str(error))
ids = arstore.unshare()
print(ids.users > 1, ids.groups > 1, ids.why)
with arstore.open(root, config="/dev/null") as store:
    with store.mounted("app:1") as path:
        print(os.stat(f"{path}/far").st_uid)
"""

OF_ROOT = """
import os, arstore
before = os.stat("/proc/self/ns/mnt").st_ino
print(arstore.unshare().why, os.stat("/proc/self/ns/mnt").st_ino != before)
"""

THREADED = """
import threading, arstore
event = threading.Event()
thread = threading.Thread(target=event.wait)
thread.start()
try:
    arstore.unshare()
except arstore.errors.UsageError as error:
    print(error)
event.set()
"""


@pytest.fixture
def user():
    if why := ordinary.why_no_namespace():
        pytest.skip(why)
    with ordinary.user() as one:
        yield one


@pytest.mark.root
@pytest.mark.mounts
def test_a_program_of_an_ordinary_user(user):
    archive = images.write_oci_archive(user.place.parent / "app.tar", PICTURE)
    archive.chmod(0o644)
    done = user.program(sys.executable, "-c", PROGRAM, user.root, archive)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["refused: True", "True True ", "1234"], done.stderr


@pytest.mark.root
def test_a_program_with_threads(user):
    done = user.program(sys.executable, "-c", THREADED)
    assert "one thread" in done.stdout, done.stderr


@pytest.mark.root
@pytest.mark.mounts
def test_a_program_of_root_gets_a_mount_namespace():
    done = subprocess.run([sys.executable, "-c", OF_ROOT], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr
