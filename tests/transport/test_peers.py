"""Archives written by the real tools, where they are installed."""

import os
import subprocess

import pytest
from support import images

from arstore.digest import VerifiedReader
from arstore.oci.config import ImageConfig
from arstore.oci.manifest import Manifest
from arstore.tar.compression import decompressed
from arstore.transport.detect import open_source

PICTURE = images.example(["localhost/example:1"])


def run(*command, **more):
    environment = {**os.environ, "TMPDIR": str(more.pop("tmp", "/tmp"))}
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, env=environment, **more)


def skopeo(tmp_path, source, target):
    (tmp_path / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    run("skopeo", "--policy", tmp_path / "policy.json", "--tmpdir", tmp_path, "copy", source, target, tmp=tmp_path)


def inflated(source, descriptor):
    blob = source.open_blob(descriptor.digest)
    try:
        return decompressed(VerifiedReader(blob, descriptor.digest, descriptor.size)).read()
    finally:
        blob.close()


def contents(reference, spool):
    """The names and the diff IDs of all images, everything verified and inflated."""
    with open_source(str(reference), spool) as source:
        found = []
        for image in source.images():
            manifest = Manifest.parse(inflated(source, image.descriptor))
            blobs = [inflated(source, part) for part in (manifest.config, *manifest.layers)]
            diff_ids = [images.sha256(blob) for blob in blobs[1:]]
            assert diff_ids == list(ImageConfig.parse(blobs[0]).diff_ids)
            found.append((image.names, diff_ids))
        return found


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize(
    ("target", "reference", "names"),
    [
        ("oci:{}/layout:localhost/app:2", "{}/layout", ("localhost/app:2",)),
        ("oci:{}/layout:latest", "{}/layout", ("layout:latest",)),
        ("oci:{}/layout", "oci:{}/layout", ("layout:latest",)),
        ("oci-archive:{}/app.tar:localhost/app:2", "{}/app.tar", ("localhost/app:2",)),
        ("oci-archive:{}/app.tar", "{}/app.tar", ("app:latest",)),
        ("docker-archive:{}/app.tar:localhost/app:2", "{}/app.tar", ("localhost/app:2",)),
        ("docker-archive:{}/app.tar", "docker-archive:{}/app.tar", ("app:latest",)),
        ("dir:{}/app", "{}/app", ("app:latest",)),
    ],
)
def test_skopeo(tmp_path, spool, target, reference, names):
    layout = images.write_layout(tmp_path / "from", PICTURE)
    skopeo(tmp_path, f"oci:{layout}:localhost/example:1", target.format(tmp_path))
    assert contents(reference.format(tmp_path), spool) == [(names, PICTURE.diff_ids)]


@pytest.mark.tools("umoci")
def test_umoci_writes_tags_only(tmp_path, spool):
    layout = tmp_path / "my-image"
    run("umoci", "init", "--layout", layout)
    assert contents(layout, spool) == []
    run("umoci", "new", "--image", f"{layout}:latest")
    run("umoci", "tag", "--image", f"{layout}:latest", "v2")
    assert contents(layout, spool) == [(("my-image:latest", "my-image:v2"), [])]
    assert contents(f"oci:{layout}:v2", spool) == [(("my-image:v2",), [])]


@pytest.mark.tools("buildah")
@pytest.mark.root
def test_buildah(tmp_path, spool):
    storage = ["--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    (tmp_path / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    (tmp_path / "file").write_bytes(b"content")
    made = run("buildah", *storage, "from", "scratch", tmp=tmp_path).stdout.decode().strip()
    run("buildah", *storage, "copy", made, tmp_path / "file", "/file", tmp=tmp_path)
    policy = ["--signature-policy", tmp_path / "policy.json"]
    run("buildah", *storage, "commit", *policy, made, f"oci-archive:{tmp_path}/app.tar:localhost/app:3", tmp=tmp_path)
    ((names, diff_ids),) = contents(tmp_path / "app.tar", spool)
    assert (names, len(diff_ids)) == (("localhost/app:3",), 1)


@pytest.mark.tools("tar", "gzip")
def test_gnu_tar(tmp_path, spool):
    layout = images.write_layout(tmp_path / "layout", PICTURE)
    run("tar", "-C", layout, "-czf", tmp_path / "流水线.tar.gz", ".")
    assert contents(tmp_path / "流水线.tar.gz", spool) == [(("localhost/example:1",), PICTURE.diff_ids)]
