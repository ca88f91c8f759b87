"""Documents built by arstore, as other tools read them."""

import gzip
import json
import subprocess

import pytest

from arstore.digest import Digest
from arstore.oci import media_type as types
from arstore.oci.config import History, ImageConfig
from arstore.oci.descriptor import REF_NAME, Descriptor
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.oci.platform import Platform
from arstore.store.layout import LAYOUT_DOCUMENT

EMPTY_TAR = bytes(10240)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def put(layout, data, media_type):
    digest = Digest.of(data)
    (layout / "blobs" / "sha256" / digest.hex).write_bytes(data)
    return Descriptor(media_type, digest, len(data))


@pytest.fixture
def layout(tmp_path):
    """A layout of one image, named `1.0`, whose second layer was added by `with_layer`."""
    root = tmp_path / "layout"
    (root / "blobs" / "sha256").mkdir(parents=True)
    diff_id = Digest.of(EMPTY_TAR)
    history = [History("2026-01-01T00:00:00Z", "first")]
    process = {"Cmd": ["/bin/x", "名"], "Env": ["A=b"], "Labels": {"k": "v"}}
    below = ImageConfig.build(Platform("linux", "amd64"), [diff_id], history=history, process=process)
    whole = ImageConfig.parse(below).with_layer(diff_id, "second", "2026-01-02T00:00:00Z")
    config = put(root, whole, types.OCI_CONFIG)
    layer = put(root, gzip.compress(EMPTY_TAR, mtime=0), types.OCI_LAYER_GZIP)
    manifest = put(root, Manifest.build(config, [layer, layer], {"a": "b"}), types.OCI_MANIFEST)
    (root / "index.json").write_bytes(Index.build([manifest.with_annotations({REF_NAME: "1.0"})]))
    (root / "oci-layout").write_bytes(LAYOUT_DOCUMENT)
    return root


@pytest.mark.tools("skopeo")
def test_skopeo_reads_what_is_built(layout):
    found = json.loads(output("skopeo", "inspect", f"oci:{layout}:1.0"))
    assert (found["Os"], found["Architecture"], found["Labels"]) == ("linux", "amd64", {"k": "v"})
    assert (found["Created"], found["Env"], len(found["Layers"])) == ("2026-01-02T00:00:00Z", ["A=b"], 2)
    config = json.loads(output("skopeo", "inspect", "--config", f"oci:{layout}:1.0"))
    assert config["config"]["Cmd"] == ["/bin/x", "名"]
    assert [entry["created_by"] for entry in config["history"]] == ["first", "second"]


@pytest.mark.tools("umoci")
def test_umoci_reads_what_is_built(layout):
    found = json.loads(output("umoci", "stat", "--json", "--image", f"{layout}:1.0"))
    assert [entry["created_by"] for entry in found["history"]] == ["first", "second"]
    assert all(entry["layer"]["digest"] == Digest.of(gzip.compress(EMPTY_TAR, mtime=0)) for entry in found["history"])


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize(("form", "media_type"), [("oci", types.OCI_MANIFEST), ("v2s2", types.DOCKER_MANIFEST)])
def test_what_skopeo_converts_reads_back(layout, tmp_path, form, media_type):
    output("skopeo", "copy", "--format", form, f"oci:{layout}:1.0", f"dir:{tmp_path}/dir")
    manifest = Manifest.parse((tmp_path / "dir" / "manifest.json").read_bytes())
    assert (manifest.media_type, manifest.is_image, len(manifest.layers)) == (media_type, True, 2)
    config = ImageConfig.parse((tmp_path / "dir" / manifest.config.digest.hex).read_bytes())
    assert config.diff_ids == (Digest.of(EMPTY_TAR),) * 2
    assert config.digest == manifest.config.digest


@pytest.mark.tools("umoci")
def test_what_umoci_writes_reads_back(tmp_path):
    layout = tmp_path / "made"
    output("umoci", "init", "--layout", str(layout))
    output("umoci", "new", "--image", f"{layout}:v1")
    output("umoci", "config", "--image", f"{layout}:v1", "--config.cmd", "sh", "--config.volume", "/data")
    index = Index.parse((layout / "index.json").read_bytes())
    assert [entry.annotations for entry in index.manifests] == [{REF_NAME: "v1"}]
    blobs = layout / "blobs" / "sha256"
    manifest = Manifest.parse((blobs / index.manifests[0].digest.hex).read_bytes(), "", index.manifests[0].media_type)
    config = ImageConfig.parse((blobs / manifest.config.digest.hex).read_bytes())
    assert (manifest.layers, config.diff_ids, config.cmd, config.volumes) == ((), (), ("sh",), ("/data",))
