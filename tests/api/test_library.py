"""The library: each method on a real store, its values, and what is public."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
import re
import subprocess
import sys
import threading

import pytest
from support import images, programs, runnable
from support.cli import REPOSITORY

import arstore
from arstore import errors
from arstore.api.methods.containers import Containers
from arstore.api.methods.volumes import Volumes

DOCUMENT = (REPOSITORY / "docs" / "library.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_opening_touches_nothing(tmp_path, store):
    assert not (tmp_path / "root").exists()
    with pytest.raises(errors.NoStoreError):
        store.images()
    assert not (tmp_path / "root").exists()


def test_a_failed_first_import_leaves_no_store(tmp_path, store):
    (tmp_path / "bad.tar").write_bytes(b"not an image")
    with pytest.raises(errors.SourceError):
        store.import_images(tmp_path / "bad.tar")
    with pytest.raises(errors.NoStoreError):
        store.images()


def test_import_and_read(store, archive):
    done = store.import_images(archive)
    (came,) = done
    assert came.names == ("app:1",)
    assert not came.layers[0].reused
    (image,) = store.images()
    assert image == store.image("app:1") == store.image(came) == store.image(image)
    assert (image.digest, image.names, image.is_index) == (came.digest, ("app:1",), False)
    details = store.inspect(image)
    assert details.image == image
    assert [layer.diff_id for layer in details.layers] == [layer.diff_id for layer in came.layers]
    assert arstore.Image(**dataclasses.asdict(image)) == image
    assert pickle.loads(pickle.dumps(details)) == details


def test_import_image_gives_the_one(store, archive, tmp_path):
    assert store.import_image(archive, name="other:2").names == ("other:2",)
    both = tmp_path / "both.tar"
    images.write_oci_archive(both, images.example(names=["one:1"]), images.example(compression="none", names=["two:1"]))
    with pytest.raises(errors.UsageError, match="holds 2 images"):
        store.import_image(both)
    assert {name for image in store.images() for name in image.names} == {"other:2"}


def test_skipped_and_moved_are_told(store, archive, tmp_path):
    store.import_images(archive)
    other = tmp_path / "other.tar"
    images.write_oci_archive(other, images.example(names=["app:1"]))
    (moved,) = store.import_images(other).moved
    assert moved.name == "app:1"
    assert moved.was != moved.digest == store.image("app:1").digest


def test_names(store, archive):
    image = store.import_image(archive)
    assert store.tag(image, "app:stable") == arstore.Tagged("app:stable", image.digest)
    assert store.image("app:stable").digest == image.digest
    assert store.untag("app:stable") == arstore.Untagged("app:stable", image.digest, ("app:1",))
    with pytest.raises(errors.NotFoundError):
        store.image("app:stable")


def test_a_name_that_moves_is_told(store, archive, tmp_path):
    first = store.import_image(archive)
    images.write_oci_archive(tmp_path / "other.tar", images.example(names=["other:1"]))
    other = store.import_image(tmp_path / "other.tar")
    assert store.tag(other, "app:1") == arstore.Tagged("app:1", other.digest, first.digest)


def test_import_root_and_save(store, tmp_path):
    (tmp_path / "root.tar").write_bytes(images.tar([images.file("etc/os-release", b"NAME=small\n")]))
    (made,) = store.import_root(
        tmp_path / "root.tar", "base:1", created=0, changes=["CMD /bin/sh"], platform="linux/amd64"
    )
    details = store.inspect(made)
    assert details.cmd == ("/bin/sh", "-c", "/bin/sh")
    assert details.image.created == "1970-01-01T00:00:00Z"
    (saved,) = store.save(["base:1"], tmp_path / "saved.tar")
    assert saved.digest == made.digest
    assert [layer.diff_id for layer in saved.layers] == [layer.diff_id for layer in made.layers]
    assert store.import_image(tmp_path / "saved.tar").digest == made.digest


def test_level_that_does_not_fit(store, archive, tmp_path):
    store.import_image(archive)
    with pytest.raises(errors.UsageError, match="level 12"):
        store.copy("store:app:1", tmp_path / "out.tar", compression="gzip", level=12)
    with pytest.raises(errors.UsageError, match="level 3"):
        store.copy("store:app:1", tmp_path / "out.tar", level=3)
    assert not (tmp_path / "out.tar").exists()


def test_check_marks_the_images_that_damage_affects(store, archive):
    image = store.import_image(archive)
    blob = pathlib.Path(store.root, "blobs", "sha256", image.config.removeprefix("sha256:"))
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    report = store.check()
    (found,) = report.findings
    assert (found.kind, found.images, found.names) == ("blob-digest", (image.digest,), (("app:1",),))
    assert not report.ok


def test_remove_and_its_plan(store, archive):
    image = store.import_image(archive)
    plan = store.remove("app:1", dry_run=True)
    assert plan.images == (image.digest,)
    assert store.images() == (image,)
    done = store.remove("app:1")
    assert done.images == plan.images
    assert done.freed > 0
    assert store.images() == ()


def test_gc_applies_its_plan(store, archive):
    image = store.import_image(archive)
    assert not store.plan_gc().garbage.images
    store.untag("app:1")
    plan = store.plan_gc()
    assert plan.garbage.images == (image.digest,)
    assert plan.bytes == plan.garbage.bytes > 0
    store.tag(image, "kept:1")
    assert store.apply(plan).images == ()
    store.untag("kept:1")
    assert store.apply(store.plan_gc()).images == (image.digest,)


def test_the_bill(store, archive):
    image = store.import_image(archive)
    bill = store.disk_usage()
    words = subprocess.run(["du", "-sB1", store.root], capture_output=True, text=True, check=True)
    assert bill.total == int(words.stdout.split()[0])
    parts = (bill.blobs, bill.trees, bill.containers, bill.metadata, bill.ingest, bill.orphans)
    assert bill.total == sum(parts)
    (one,) = bill.images
    assert (one.digest, one.names, one.size) == (image.digest, image.names, one.unique + one.shared)
    assert store.disk_usage("app:1").images == (one,)


def test_check_finds_and_mends(store, archive, tmp_path):
    image = store.import_image(archive)
    assert store.check() == arstore.CheckReport((), store.check().bytes)
    blob = tmp_path / "root" / "blobs" / image.layers[0].replace(":", "/")
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    report = store.check()
    assert not report.ok
    assert any(finding.kind == "blob-digest" and finding.images == (image.digest,) for finding in report.findings)
    assert store.check(repair=True, sources=[archive]).ok
    assert store.check(quick=True).ok


def test_copies(store, archive, tmp_path):
    image = store.import_image(archive)
    (copied,) = store.copy(image, f"oci-archive:{tmp_path}/out.tar")
    assert (copied.digest, copied.names) == (image.digest, image.names)
    (converted,) = store.copy("store:app:1", f"oci:{tmp_path}/layout", compression="zstd")
    assert converted.digest != image.digest
    with arstore.open(tmp_path / "second", tmp_path / "run2") as second:
        assert second.copy(tmp_path / "out.tar", "store:again:1").images[0].names == ("again:1",)
        assert second.image("again:1").digest == image.digest
    with pytest.raises(errors.UsageError):
        store.copy(image, "store:twice")
    with pytest.raises(errors.UsageError, match="not a compression"):
        store.copy(image, f"oci:{tmp_path}/layout", compression="lzma")
    (outside,) = store.copy(archive, f"dir:{tmp_path}/dir")
    assert outside.digest == image.digest


def test_unpack(store, archive, tmp_path):
    store.import_image(archive)
    done = store.unpack("app:1", tmp_path / "rootfs")
    assert (tmp_path / "rootfs" / "etc" / "os-release").read_bytes() == b"NAME=small\n"
    assert (done.layers, done.members, done.size) == (1, 2, 11)


@pytest.mark.mounts
def test_mounts(store, archive, tmp_path):
    image = store.import_image(archive)
    with store.mounted(image) as path:
        with open(f"{path}/etc/os-release") as file:
            assert file.read() == "NAME=small\n"
        with pytest.raises(OSError, match="Read-only"), open(f"{path}/new", "w"):
            pass
    target = tmp_path / "target"
    target.mkdir()
    with store.mounted("app:1", target, writable=True) as path:
        assert path == str(target)
        (target / "new").write_text("here")
    assert list(target.iterdir()) == []
    assert not store.plan_gc().garbage.containers


@pytest.mark.mounts
def test_a_mount_in_use_is_detached_and_told(store, archive):
    store.import_image(archive)
    with pytest.raises(errors.InUseError, match="detached"), store.mounted("app:1") as path:
        held = open(f"{path}/etc/os-release")  # noqa: SIM115 - held across the end
    held.close()
    store.plan_gc()


@pytest.mark.runtime
def test_run_and_load(store, tmp_path, capfd):
    made = runnable.write_runnable(tmp_path)
    if not made:
        pytest.skip("needs busybox")
    store.import_image(made["box"])
    ended = store.run("box:1", "/bin/sh", "-c", "echo hello; exit 3", timeout=60)
    assert ended == arstore.Ended(3)
    assert capfd.readouterr().out == "hello\n"
    loaded = store.load(made["pipeline"])
    names = {name for image in loaded.images for name in image.names}
    assert (loaded.ran, loaded.status) == (True, 0)
    assert names | set(loaded.names) == set(runnable.PIPELINE_NAMES)


def test_threads_are_warned_of_once(store, archive):
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        code = (
            "import sys, threading, arstore\n"
            "e = threading.Event(); threading.Thread(target=e.wait).start()\n"
            "s = arstore.open(*sys.argv[1:3])\n"
            "s.import_images(sys.argv[3]); s.disk_usage(); e.set()\n"
        )
        words = [sys.executable, "-W", "always::RuntimeWarning", "-c", code, store.root, store.runroot, str(archive)]
        result = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    finally:
        done.set()
        other.join()
    assert result.stderr.count("RuntimeWarning") == 1


def test_importing_loads_nothing():
    code = "import sys; before = set(sys.modules); import arstore; print(sorted(set(sys.modules) - before))"
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "['__future__', 'arstore']\n"


def test_what_is_public_is_what_is_documented():
    table = DOCUMENT.split("## Public names")[1].split("From version 1.0")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(arstore.__all__)
    for name in arstore.__all__:
        assert getattr(arstore, name) is not None
    assert set(arstore.__all__) <= set(dir(arstore))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        arstore.nothing  # noqa: B018 - the access is the test


def test_methods_are_documented_with_what_they_raise():
    for kind in (arstore.Store, Containers, Volumes):
        for name in dir(kind):
            if not name.startswith("_"):
                assert getattr(kind, name).__doc__, name


def test_values_are_frozen_data_classes():
    for name in arstore.__all__:
        kind = getattr(arstore, name)
        if isinstance(kind, type) and kind.__module__.startswith("arstore.api.values."):
            assert dataclasses.is_dataclass(kind), name
            assert [field.name for field in dataclasses.fields(kind)] == list(kind.__match_args__)


@pytest.mark.mounts
@pytest.mark.runtime
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number, tmp_path, archive):
    made = runnable.write_runnable(tmp_path)
    if programs.busybox() is None:
        pytest.skip("needs busybox")
    assert made
    (tmp_path / "broken.tar").write_bytes(b"\0" * 512)
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[number].replace("/srv/images", f"{tmp_path}/store"))
    words = [sys.executable, "-W", "error", program]
    result = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(REPOSITORY),
            "ARSTORE_RUNROOT": f"{tmp_path}/run",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        },
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    # A warning that is raised where nothing can catch it is only printed.
    assert result.stderr == ""


def test_the_first_example_is_short():
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 10
