import os
import subprocess
import sys
from pathlib import Path

import pytest

from arstore.linux.mounting import superblock
from arstore.linux.mounting.superblock import Live, look, magic

REPOSITORY = Path(__file__).parents[3]
ASK = "import sys; from arstore.linux.mounting.superblock import look; print(bool(look(int(sys.argv[1]))))"


@pytest.fixture
def mounted(tmp_path):
    for name in ("a", "b", "m"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/a:{tmp_path}/b"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "m"], check=True)
    yield tmp_path / "m"
    subprocess.run(["umount", "--quiet", tmp_path / "m"], check=False)


def answering():
    if look(os.stat("/").st_dev) is None:
        pytest.skip("this kernel does not say, or a filter keeps it from it")


@pytest.mark.mounts
def test_it_lives_as_long_as_something_holds_it(mounted):
    answering()
    device = os.stat(mounted).st_dev
    assert look(device)
    for words in (["unshare", "-m"], ["unshare", "-pf", "--mount-proc", "-m"], ["unshare", "-Urpf", "--mount-proc"]):
        command = [*words, sys.executable, "-c", ASK, str(device)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
        assert done.stdout.strip() in {"True", ""}, done.stderr
    fd = os.open(mounted, os.O_RDONLY)
    subprocess.run(["umount", "--lazy", mounted], check=True)
    assert look(device)
    os.close(fd)


def test_an_overlay_claims_what_its_topmost_file_system_does(mounted):
    answering()
    live, below = look(os.stat(mounted).st_dev), look(os.stat(mounted.parent).st_dev)
    assert isinstance(live, Live)
    assert isinstance(below, Live)
    assert live.sign == below.sign == 0


def test_of_what_is_not_there():
    answering()
    assert look(os.makedev(4095, (1 << 20) - 1)) is False
    assert look(os.makedev(0, (1 << 20) - 1)) is False


def test_an_architecture_without_the_call(monkeypatch):
    monkeypatch.setattr(superblock, "_USTAT", 0)
    assert look(os.stat("/").st_dev) is None


@pytest.mark.mounts
def test_the_type_of_a_file_system(mounted):
    assert magic(str(mounted)) == superblock.OVERLAY
    assert magic("/proc") == 0x9FA0
    with pytest.raises(FileNotFoundError):
        magic("/no/such/place")
