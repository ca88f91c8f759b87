"""`load` from end to end with a real runtime, and its behaviour when any part of that fails."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import copies, encryption, images, oddities, stores
from support.cli import Arstore

from arstore.disk.paths import opened
from arstore.errors import (
    DecryptionError,
    HostError,
    InvalidReferenceError,
    PipelineFailedError,
    PipelineTimeoutError,
    SubImageError,
    UsageError,
)
from arstore.pipeline import load as module
from arstore.pipeline.clock import Clock
from arstore.pipeline.load import Archive, InStore, Loaded, LoadOptions, load
from arstore.pipeline.place import images_directory
from arstore.runtime.discovery import find_runtime
from arstore.runtime.spec.options import RunOptions
from arstore.transport.decryption.keys import DecryptionKeys
from arstore.transport.export.encryption import Encryption
from arstore.transport.export.options import ExportOptions
from arstore.trust.encryption.key_file import KeyWord
from arstore.trust.encryption.recipients import Recipients

TOOL = Path(__file__).parents[2] / "tools" / "pipeline_image.py"
SUB_IMAGES = {"greeter:1", "counter:1"}


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


# --- where the images directory lies --------------------------------------------------------------------------------


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("builder:1", "builder/images"),
        ("team/builder:2", "team/builder/images"),
        ("registry.example:5000/a/b:latest", "registry.example:5000/a/b/images"),
        ("images-of-x:1", "images-of-x/images"),
    ],
)
def test_the_images_directory_is_named_after_the_image(name, place):
    assert images_directory("/root", DIGEST, (name,)) == f"/root/{place}"


@pytest.mark.parametrize(
    "name",
    [f"{own}:1" for own in ("blobs", "trees", "ingest", "graph", "containers", "pipelines", "images")]
    + [f"{own}:1" for own in ("blobs/sha256", "a/images", "a/images/b", "index.json", "oci-layout")],
)
def test_names_that_collide_with_the_store_are_refused(name):
    with pytest.raises(InvalidReferenceError):
        images_directory("/root", DIGEST, (name,))


def test_a_pipeline_without_a_name_goes_by_its_digest():
    assert images_directory("/root", DIGEST, ()) == "/root/000000000000/images"


# --- end to end -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def archive(tmp_path_factory, busybox):
    """The pipeline image of tools/; the archive's file gives it the name `builder:1`."""
    path = tmp_path_factory.mktemp("pipeline") / "builder.tar.gz"
    subprocess.run(["python3", TOOL, path], check=True)
    return path


@pytest.fixture
def options():
    return LoadOptions()


def run(store, archive, options, loaded=None):
    def find(_timeout):
        return find_runtime(None, store.directories.runroot)

    source = archive if isinstance(archive, InStore) else Archive(str(archive), "builder:1")
    return load(store, source, options, find, loaded=loaded)


def directory(store):
    return Path(store.directories.root, "builder/images")


def left(store):
    return {path.name for path in directory(store).iterdir()}


def take_leavings(store, place, loaded):
    with opened(str(place)) as fd:
        module._Work(store, str(place / "left"), fd, LoadOptions(), None, loaded, Clock(None)).take_leavings()


def test_what_is_no_image_in_what_it_leaves_is_skipped(store, tmp_path):
    (tmp_path / "left").mkdir()
    images.write_archive(tmp_path / "left" / "a.tar", oddities.ARCHIVES["beside-named-chart"]())
    images.write_files(tmp_path / "left" / "b", oddities.ARCHIVES["layout-no-marker"]())
    loaded = Loaded()
    take_leavings(store, tmp_path, loaded)
    assert stores.names(store) == {"app:v1": oddities.picture().digest}
    assert {path: [one.name for one in skipped.entries] for path, skipped in loaded.skipped.items()} == {
        "a.tar": ["site/thing:1"],
        "b": [],
    }
    assert os.listdir(tmp_path / "left") == []
    images.write_archive(tmp_path / "left" / "a.tar", oddities.ARCHIVES["alone-chart"]())
    with pytest.raises(SubImageError, match="contains no container image"):
        take_leavings(store, tmp_path, loaded)
    assert os.listdir(tmp_path / "left") == ["a.tar"]


def test_encrypted_leavings_stay_where_they_are(store, tmp_path):
    """The user's keys must not decrypt images that a pipeline chooses."""
    (tmp_path / "left").mkdir()
    images.write_oci_archive(tmp_path / "left" / "a.tar", encryption.picture(images.example(), encryption.rsa_key()))
    with pytest.raises(SubImageError, match=r"a\.tar"):
        take_leavings(store, tmp_path, Loaded())
    assert os.listdir(tmp_path / "left") == ["a.tar"]
    assert stores.names(store) == {}


def quiet(store):
    """There is no container, no mount, and no work in flight."""
    assert os.listdir(store.directories.containers) == []
    assert store.containers.list() == []
    stores.verify_clean(store)


def marked(function):
    """Mark a test that needs a real runtime."""
    return pytest.mark.root(pytest.mark.mounts(pytest.mark.runtime(function)))


@marked
def test_an_encrypted_pipeline_is_opened_and_run(store, archive, options, tmp_path):
    private, public = encryption.write(tmp_path, "rsa", encryption.rsa_key())
    locked = copies.target("oci-archive", tmp_path, "locked.tar")
    copies.copy(archive, locked, ExportOptions(encryption=Encryption(Recipients.named([f"jwe:{public}"]))))
    with pytest.raises(DecryptionError, match="no key was given"):
        run(store, locked.path, options)
    keys = DecryptionKeys((KeyWord(str(private)),), lambda _line: None)
    run(store, locked.path, replace(options, keys=keys))
    assert stores.names(store).keys() >= SUB_IMAGES
    quiet(store)


@marked
def test_the_images_it_leaves_are_imported_and_the_directory_is_clean(store, archive, options):
    loaded = run(store, archive, options)
    assert loaded.exit_code == 0
    assert {name for image in loaded.imported for name in image.names} == SUB_IMAGES
    assert loaded.failed == ()
    assert set(stores.names(store)) == SUB_IMAGES | {"builder:1"}
    assert stores.names(store)["builder:1"] == loaded.image
    assert left(store) == set()
    quiet(store)


@marked
def test_kept_images_are_imported_too(store, archive, options):
    run(store, archive, replace(options, keep_images=True))
    assert left(store) == {"greeter.tar", "counter"}
    assert set(stores.names(store)) >= SUB_IMAGES


@marked
def test_a_container_that_fails(store, archive, options):
    loaded = Loaded()
    with pytest.raises(PipelineFailedError, match="status 3"):
        run(store, archive, replace(options, container=RunOptions(env=("PIPELINE_EXIT=3",))), loaded)
    assert loaded.exit_code == 3
    assert loaded.container
    assert loaded.imported == ()
    assert left(store) == {"greeter.tar", "counter"}
    assert set(stores.names(store)) == {"builder:1"}
    quiet(store)
    run(store, archive, options)
    assert left(store) == set()
    assert set(stores.names(store)) >= SUB_IMAGES


@marked
def test_a_container_that_does_not_end(store, archive, options):
    container = RunOptions(env=("PIPELINE_SLEEP=60",), stop_timeout=0.3)
    with pytest.raises(PipelineTimeoutError):
        run(store, archive, replace(options, container=container, timeouts={"run": 0.5}))
    assert set(stores.names(store)) == {"builder:1"}
    quiet(store)


@marked
def test_what_is_no_image_keeps_everything_where_it_is(store, archive, options):
    loaded = Loaded()
    leave = replace(options, container=RunOptions(env=("PIPELINE_LEAVE=junk symlinks special names",)))
    with pytest.raises(SubImageError, match=r"and \d+ more"):
        run(store, archive, leave, loaded)
    failed = {failure.path for failure in loaded.failed}
    assert failed == {"notes.txt", "cut.tar", "file-link.tar", "directory-link", "inner-link.tar", "pipe"}
    assert left(store) >= {*failed, "greeter.tar", "counter", "two\nlines.tar"}
    assert set(stores.names(store)) >= SUB_IMAGES
    assert all("\n" not in str(failure.error) for failure in loaded.failed)
    quiet(store)
    for name in failed:
        (directory(store) / name).unlink()
    (directory(store) / "two\nlines.tar").unlink()
    loaded = run(store, archive, options)
    assert loaded.failed == ()
    assert all(layer.reused for image in loaded.imported for layer in image.layers)
    assert left(store) == set()


@pytest.fixture
def at_work(store, archive, tmp_path):
    """A `load` of builder:1 while its container runs."""
    arstore = Arstore(Path(store.directories.root), Path(store.directories.runroot))
    with arstore.start("load", "-i", archive, "--name", "builder:1", "-e", "PIPELINE_SLEEP=60") as process:
        wait_for(lambda: any(one["status"] == "running" for one in arstore.json("ps")))
        yield process, arstore
        process.kill()


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in 30 s")


@marked
def test_a_second_load_of_one_pipeline_is_refused_whatever_it_is_called_by(at_work, store, archive, options, tmp_path):
    process, arstore = at_work
    (tmp_path / "link").symlink_to(store.directories.root)
    other = Arstore(tmp_path / "link", tmp_path / "other-run")
    for one, name in ((arstore, "builder:1"), (arstore, "builder:2"), (other, "builder:1")):
        said = one.fails("InUse", "load", "-i", archive, "--name", name)
        assert f"is being loaded by process {process.pid}" in said
    quick = ("-e", "PIPELINE_SLEEP=0")
    for name in ("builder/more:1", "other:1"):
        arstore.ok("load", "-i", archive, "--name", name, *quick)
    assert left(store) == set()
    process.kill()
    process.wait()
    arstore.ok("load", "-i", archive, "--name", "builder:1", *quick)
    assert left(store) == set()
    assert not Path(store.directories.root, "builder/.load").exists()


@marked
def test_what_comes_during_the_import_stays(store, archive, options, monkeypatch):
    """Another process has a descriptor of the directory, and puts a file into it."""
    real = module.import_opened

    def busy(*arguments):
        (directory(store) / "late.tar").write_bytes(b"late")
        with open(directory(store) / "greeter.tar", "ab") as file:
            file.write(b"")
            os.utime(file.fileno())
        return real(*arguments)

    monkeypatch.setattr(module, "import_opened", busy)
    loaded = run(store, archive, options)
    assert {name for image in loaded.imported for name in image.names} == SUB_IMAGES
    assert set(loaded.kept) == left(store) == {"late.tar", "greeter.tar"}
    quiet(store)


@marked
def test_a_pipeline_that_leaves_nothing(store, archive, options):
    loaded = run(store, archive, replace(options, container=RunOptions(env=("PIPELINE_LEAVE=nothing",))))
    assert (loaded.imported, loaded.failed) == ((), ())
    assert set(stores.names(store)) == {"builder:1"}


@marked
def test_a_symlink_in_the_directorys_way_is_not_followed(store, archive, options, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    os.symlink(victim, Path(store.directories.root, "builder"))
    with pytest.raises(HostError, match="symlink"):
        run(store, archive, options)
    assert list(victim.iterdir()) == []


def test_an_archive_of_two_images_is_refused_before_anything_is_imported(store):
    before = stores.State(store)
    path = stores.archive_for(store, *[stores.simple(name, names=(f"{name}:1",)) for name in "ab"])
    with pytest.raises(UsageError, match="2 images"):
        run(store, path, LoadOptions())
    before.verify()
