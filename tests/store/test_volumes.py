"""Named volumes: made and removed whole, and never from under a container."""

import os
import threading
from pathlib import Path

import pytest
from support import stores

from arstore.errors import ConflictError, InUseError, InvalidReferenceError, NotFoundError, StoreDamagedError
from arstore.store.container_uses import Uses, read_uses, write_uses
from arstore.store.volumes import damaged_volumes, mend

ONE = stores.simple("a", names=("x:1",))


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, ONE) as made:
        yield made


@pytest.fixture
def image():
    return ONE.digest


def test_a_volume_has_what_it_was_made_with(store):
    made = store.volumes.create("v", {"a": "b", "c": ""})
    found = store.volumes.get("v")
    assert (found.name, found.labels, found.path) == ("v", {"a": "b", "c": ""}, made.path)
    assert abs(found.created - made.created) < 0.001
    assert found.is_new
    assert os.listdir(found.mountpoint) == []
    assert store.volumes.names() == ["v"]
    with pytest.raises(ConflictError):
        store.volumes.create("v")
    assert store.volumes.ensure("v").labels == {"a": "b", "c": ""}


@pytest.mark.parametrize("name", ["-v", "a/b", "..", ".a", "ä", "a" * 256, "a b", "a\n"])
def test_no_names(store, name):
    with pytest.raises(InvalidReferenceError):
        store.volumes.create(name)
    with pytest.raises(NotFoundError):
        store.volumes.get(name)
    with pytest.raises(NotFoundError):
        store.volumes.remove(name)


def test_a_volume_is_removed_with_all_in_it(store):
    made = store.volumes.create("v")
    Path(made.mountpoint, "file").write_bytes(b"x" * 9000)
    assert store.volumes.remove("v") >= 9000
    assert store.volumes.names() == []
    with pytest.raises(NotFoundError):
        store.volumes.get("v")


def test_only_one_of_many_makes_it(store):
    results = []

    def make():
        try:
            results.append(store.volumes.create("v").name)
        except ConflictError:
            results.append("")

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [""] * 5 + ["v"]
    assert os.listdir(store.directories.ingest) == []


def test_uses_are_kept_as_they_are(tmp_path):
    mount = ("", "/x", True, ("dev",), "volume", "v", False, False, True, "")
    uses = Uses(("v",), ("sha256:a",), ("c",), (mount,))
    write_uses(str(tmp_path), uses)
    assert read_uses(str(tmp_path)) == uses
    data = (tmp_path / "uses").read_bytes()
    (tmp_path / "uses").write_bytes(data.replace(b'"v"', b'"w"'))
    with pytest.raises(StoreDamagedError):
        read_uses(str(tmp_path))
    (tmp_path / "empty").mkdir()
    write_uses(str(tmp_path / "empty"), Uses())
    assert os.listdir(tmp_path / "empty") == []
    assert not read_uses(str(tmp_path / "empty"))


def test_what_a_container_uses_stays(store, image):
    store.volumes.create("v")
    made = store.containers.create(image, "c", uses=Uses(("v",)))
    assert store.volumes.users() == {"v": ["c"]}
    with pytest.raises(InUseError, match="container c"):
        store.volumes.remove("v")
    store.containers.remove(made.id)
    assert store.volumes.remove("v") > 0


def test_a_container_cannot_use_what_is_gone(store, image):
    for uses in (Uses(("gone",)), Uses((), ("sha256:" + "0" * 64,)), Uses((), (), ("gone",))):
        with pytest.raises(NotFoundError, match="was removed in the meantime"):
            store.containers.create(image, "c", uses=uses)
    assert store.containers.list() == []


def test_a_container_that_lends_its_volumes_stays(store, image):
    lender = store.containers.create(image, "lender")
    os.mkdir(f"{lender.path}/volumes")
    store.containers.create(image, "borrower", uses=Uses((), (), ("lender",)))
    with pytest.raises(InUseError, match="container borrower"):
        store.containers.remove("lender")
    store.containers.remove("borrower")
    store.containers.remove("lender")


def test_a_damaged_record_is_found_and_mended(store):
    made = store.volumes.create("v", {"a": "b"})
    Path(made.mountpoint, "file").write_bytes(b"x")
    Path(made.path, "volume.json").write_bytes(b"{}")
    assert damaged_volumes(store.directories) == ["v"]
    with pytest.raises(StoreDamagedError):
        store.volumes.get("v")
    mend(store.directories, "v")
    assert store.volumes.get("v").labels == {}
    assert os.listdir(made.mountpoint) == ["file"]
    assert damaged_volumes(store.directories) == []
