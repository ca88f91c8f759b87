"""Limits on documents: exact in every medium; an accepted document is read again under any limits."""

from __future__ import annotations

import json

import pytest
from support import images, stores

from arstore.errors import LimitError, UsageError
from arstore.maintenance.check.rebuild_records import manifests
from arstore.oci.document import BOUNDS, STORED
from arstore.rootfs import mount as rootfs
from arstore.rootfs.commit import CommitOptions, commit
from arstore.tar.limits import Limits, changed
from arstore.transport.copy import ImportOptions, import_reference
from arstore.transport.media.bounds import bounds_of
from arstore.transport.selection.selector import Wanted

EXAMPLE = images.example()
NAMES = ("document", "json_depth", "layers", "manifests", "index_depth")

MEDIA = {
    "layout": lambda path: images.write_layout(path / "layout", EXAMPLE),
    "archive": lambda path: images.write_oci_archive(path / "x.tar", EXAMPLE),
    "dir": lambda path: images.write_dir(path / "dir", EXAMPLE),
    "podman": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE),
    "hybrid": lambda path: images.write_docker_archive(path / "x.tar", EXAMPLE, style="hybrid"),
}


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


def test_the_defaults_are_those_of_documents():
    assert bounds_of(Limits())[:-1] == BOUNDS[:-1]
    assert bounds_of(Limits()).passed("layers", "it", "has many").hint == "--limit layers=VALUE raises this limit"


@pytest.mark.parametrize("name", NAMES)
def test_no_flag_lets_in_what_could_not_be_read_again(name):
    flag, most = name.replace("_", "-"), getattr(STORED, name)
    assert getattr(bounds_of(changed([f"{flag}={most}"])), name) == most
    with pytest.raises(UsageError, match=f"--limit {flag}={most + 1}"):
        bounds_of(changed([f"{flag}={most + 1}"]))


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize(("flag", "value"), [("document", 300), ("json-depth", 2), ("layers", 1)])
def test_each_medium_keeps_to_the_limits(store, tmp_path, medium, flag, value):
    path = MEDIA[medium](tmp_path)
    before = stores.State(store)
    with pytest.raises(LimitError) as caught:
        import_reference(store, str(path), ImportOptions(limits=changed([f"{flag}={value}"])))
    assert caught.value.hint == f"--limit {flag}=VALUE raises this limit"
    before.verify()


@pytest.mark.parametrize("every", [False, True])
def test_manifests_of_indexes(store, tmp_path, every):
    path = images.write_layout(tmp_path / "layout", images.index(EXAMPLE, images.image(architecture="s390x")))
    wanted = Wanted(every=every)
    with pytest.raises(LimitError, match="--limit manifests="):
        import_reference(store, str(path), ImportOptions(wanted=wanted, limits=Limits(manifests=1)))
    assert import_reference(store, str(path), ImportOptions(wanted=wanted, limits=Limits(manifests=2)))


def large(config):
    """A config beyond the usual limits, in bytes and in levels."""
    config.update(x=json.loads("[" * 100 + "]" * 100), y="y" * BOUNDS.document)


@pytest.mark.root
@pytest.mark.mounts
def test_what_was_let_in_once_is_read_again(store, tmp_path):
    picture = images.image(*images.example_layers(), names=["large:1"], edit_config=large)
    path = images.write_layout(tmp_path / "layout", picture)
    for limit in "document=8m", "json-depth=200":
        with pytest.raises(LimitError):
            import_reference(store, str(path), ImportOptions(limits=changed([limit])))
    import_reference(store, str(path), ImportOptions(limits=changed(["document=8m", "json-depth=200"])))
    image = store.find("large:1")
    assert len(store.config(image).raw) > BOUNDS.document
    box = rootfs.create_container(store, image, "box")
    made = commit(store, box, CommitOptions("more:1", 0)).image
    stores.verify_clean(store)
    assert {image.digest, made.digest} <= set(manifests(store.directories))


@pytest.mark.root
@pytest.mark.mounts
def test_a_commit_makes_nothing_that_could_not_be_read_again(store, monkeypatch):
    stores.bring(store, EXAMPLE)
    box = rootfs.create_container(store, store.find("example:1"), "box")
    before = stores.State(store)
    monkeypatch.setattr("arstore.rootfs.commit.STORED", STORED._replace(layers=len(EXAMPLE.layers)))
    with pytest.raises(LimitError, match="diff IDs"):
        commit(store, box, CommitOptions("more:1", 0))
    before.verify()
