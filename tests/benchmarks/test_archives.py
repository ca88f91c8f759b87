"""Archives made for one measurement: their content must be as announced."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.archives import deep_stack, huge_layer, pipeline_of
from benchmarks.measure import MeasurementError


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def opened(path: Path) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """The entry of the index, the config, and the layers' tars; all digests, sizes and diff IDs were compared."""
    with tarfile.open(path, "r:") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert sha256(data) == name.removeprefix("blobs/").replace("/", ":")

    def blob(descriptor: dict[str, Any]) -> bytes:
        data = files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(data) == descriptor["size"]
        return data

    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    tars = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
    assert [sha256(tar) for tar in tars] == config["rootfs"]["diff_ids"]
    return entry, config, tars


def members(tar: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened_tar:
        return {m.name: opened_tar.extractfile(m).read() if m.isfile() else None for m in opened_tar}


def test_a_deep_stack_has_different_layers(tmp_path: Path) -> None:
    deep_stack(str(tmp_path / "deep.tar"), 7)
    entry, _, tars = opened(tmp_path / "deep.tar")
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "deep"}
    assert len({bytes(tar) for tar in tars}) == 7
    assert members(tars[3]) == {"d3": None, "d3/file": b"3\n", "changed": b"3\n"}


def test_a_huge_layer_is_one_file_that_deflates_well_but_not_to_nothing(tmp_path: Path) -> None:
    size = 48 << 20
    huge_layer(str(tmp_path / "huge.tar"), size)
    _, _, (tar,) = opened(tmp_path / "huge.tar")
    ((name, content),) = members(tar).items()
    assert (name, len(content or b"")) == ("huge", size)
    assert size / 30 < (tmp_path / "huge.tar").stat().st_size < size / 10


def test_a_pipeline_has_the_layers_of_its_source_and_another_command(tmp_path: Path) -> None:
    deep_stack(str(tmp_path / "deep.tar"), 3)
    pipeline_of(str(tmp_path / "deep.tar"), str(tmp_path / "pipeline.tar"), "pipeline", ["true", "x"])
    entry, config, tars = opened(tmp_path / "pipeline.tar")
    assert tars == opened(tmp_path / "deep.tar")[2]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "pipeline"}
    assert config["config"]["Cmd"] == ["true", "x"]
    assert config["config"]["Entrypoint"] is None
    assert config["config"]["Env"]


@pytest.mark.parametrize("data", [b"", b"x" * 10240])
def test_a_pipeline_needs_an_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(MeasurementError, match="not an OCI archive"):
        pipeline_of(str(tmp_path / "bad.tar"), str(tmp_path / "pipeline.tar"), "pipeline", ["true"])
