"""`store.volumes`: named volumes, without the command line."""

from __future__ import annotations

import pytest

import arstore
from arstore import errors


def test_volumes(store):
    data = store.volumes.create("data", labels={"app": "shop"})
    assert (data.name, data.labels, data.containers, data.is_new) == ("data", {"app": "shop"}, (), True)
    with pytest.raises(errors.ConflictError):
        store.volumes.create("data")
    assert store.volumes.create("data", exist_ok=True) == data == store.volumes.get("data")
    other = store.volumes.create()
    assert {one.name for one in store.volumes.list()} == {"data", other.name}
    with pytest.raises(errors.NotFoundError):
        store.volumes.remove("data", "none")
    assert store.volumes.remove("data", dry_run=True) == arstore.RemovedVolumes(("data",), (), 0)
    done = store.volumes.remove("data", "none", force=True)
    assert (done.names, done.freed > 0) == (("data",), True)
    assert store.volumes.list() == (other,)


def test_a_damaged_volume_is_left_out_with_a_warning(store):
    data = store.volumes.create("data")
    with open(data.path.removesuffix("data") + "volume.json", "wb") as file:
        file.write(b"x")
    with pytest.warns(RuntimeWarning, match="its record is damaged"):
        assert store.volumes.list() == ()
