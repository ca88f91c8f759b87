"""Output of `load`; the pipeline itself is tested with its package."""

from __future__ import annotations

import pytest
from support import images

from arstore.errors import PipelineFailedError, SubImageError
from arstore.pipeline import load as pipeline
from arstore.store.ingest.incoming import TakenImage


@pytest.fixture
def outcome(monkeypatch):
    """Replaces the work of `load`: *act* gets its arguments."""

    def install(act):
        monkeypatch.setattr(pipeline, "load", act)

    return install


def taken(name):
    return TakenImage(f"sha256:{name * 64}", "sha256:" + "c" * 64, (f"{name}:1",), "linux/amd64", ())


def test_what_was_imported(arstore, outcome):
    def act(store, source, options, runtime, progress, loaded, note):
        assert source == pipeline.Archive("流水线.tar.gz")
        assert (options.container.env, options.timeout, options.keep_images) == (("A=1",), 2.5, True)
        loaded.image, loaded.container, loaded.exit_code = "sha256:" + "9" * 64, "box", 0
        loaded.imported = (taken("a"), taken("b"))

    outcome(act)
    words = ("load", "-i", "流水线.tar.gz", "--env", "A=1", "--timeout", "2.5", "--keep-images")
    lines = arstore.ok(*words).text.splitlines()
    assert lines == ["sha256:" + "9" * 64, f"sha256:{'a' * 64} a:1", f"sha256:{'b' * 64} b:1"]
    document = arstore.ok(*words, "--json").json
    told = document["pipeline"]
    assert (told["image"], told["container"], told["exit_code"]) == ("sha256:" + "9" * 64, "box", 0)
    assert [image["names"] for image in document["imported"]] == [["a:1"], ["b:1"]]
    assert document["failed"] == []


def test_a_failure_is_told_in_full(arstore, outcome):
    def act(store, source, options, runtime, progress, loaded, note):
        loaded.image, loaded.container, loaded.exit_code = "sha256:" + "9" * 64, "box", 0
        loaded.imported = (taken("a"),)
        loaded.failed = (pipeline.Failure("x\n", SubImageError("x\n", "is a FIFO, not an image")),)
        raise SubImageError("x\n", "could not be imported")

    outcome(act)
    result = arstore("load", "--json", "-i", "x.tar")
    assert result.status == 62
    assert result.error["kind"] == "SubImage"
    assert result.json["failed"] == [{"path": "x\n", "error": "x\n: is a FIFO, not an image"}]
    assert len(result.json["imported"]) == 1
    result = arstore("load", "-i", "x.tar")
    assert "warning: x\\n: x\\n: is a FIFO" in result.err
    assert result.status == 62


def test_a_pipeline_that_fails(arstore, outcome):
    def act(store, source, options, runtime, progress, loaded, note):
        loaded.image, loaded.container, loaded.exit_code = "sha256:" + "9" * 64, "box", 7
        raise PipelineFailedError("x", "the pipeline ended with status 7")

    outcome(act)
    result = arstore("load", "--json", "-i", "x.tar")
    assert result.status == 60
    assert result.json["pipeline"]["exit_code"] == 7


def test_without_an_archive_nothing_is_on_stdout(arstore, tmp_path):
    result = arstore("load", "--json", "-i", tmp_path / "missing.tar")
    assert (result.status, result.out) == (3, b"")
    assert arstore("load").status == 2


def test_what_the_pipeline_writes_is_on_stderr(arstore, outcome):
    import os

    def act(store, source, options, runtime, progress, loaded, note):
        os.write(1, b"from the container\n")
        loaded.image = "sha256:" + "9" * 64

    outcome(act)
    result = arstore.ok("load", "--json", "-i", "x.tar")
    assert result.json["imported"] == []
    assert "from the container" in result.err


def test_images_that_are_no_pipeline(arstore, tmp_path):
    parts = [images.image(images.layer([images.file(name)]), names=[f"{name}:1"]) for name in "ab"]
    path = images.write_oci_archive(tmp_path / "two.tar", *parts)
    assert arstore("load", "-i", path).status == 2
