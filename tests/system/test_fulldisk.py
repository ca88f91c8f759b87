"""Full disks: commands with hardly any space left, and with none at all."""

from __future__ import annotations

import pytest
from reliability import fulldisk, kills
from reliability.cutting import machine
from support import budget

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.tools("mkfs.ext4", "mount", "umount")]

SIZE = 3 << 20
MIB = 1 << 20


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    kills.import_everything()
    place = tmp_path_factory.mktemp("full") / "archives"
    fulldisk.write_archives(place, SIZE)
    return place


@pytest.fixture
def faults_of(tmp_path, archives):
    """The faults of one case, run in a separate machine."""

    def found(name, rooms, inodes=0):
        def tried():
            disk = fulldisk.Disk(tmp_path, 12 * SIZE + 40 * MIB, inodes or 20000)
            try:
                trial = fulldisk.Trial(disk, archives)
                (case,) = (one for one in fulldisk.cases(archives, disk, 1) if one.name == name)
                leave = disk.leave_inodes if inodes else lambda room: disk.leave(room * case.unit)
                tally = trial.case(case, rooms, leave, bool(inodes))
            finally:
                disk.close()
            return "\n".join([str(tally.refused > 0), *tally.faults]).encode()

        return machine.result(tried).decode().splitlines()

    return found


@pytest.mark.parametrize("name", ["import, index form", "import, directory form"])
def test_import(faults_of, name):
    assert faults_of(name, budget.some(2, range(0, 40, 8))) == ["True"]


def test_out_of_inodes(faults_of):
    assert faults_of("import, directory form", range(0, 3000, 1200), inodes=4000) == ["True"]


@pytest.mark.runtime
def test_run(faults_of):
    assert faults_of("run", range(0, 200, 64)) == ["True"]


@pytest.mark.long
@pytest.mark.runtime
def test_load(faults_of):
    assert faults_of("load", range(0, 20000, 256)) == ["True"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["convert", "unpack", "mount --rw", "commit"])
def test_others(faults_of, name):
    assert faults_of(name, range(0, 30, 2)) == ["True"]
