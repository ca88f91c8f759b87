"""`inspect` and `history`."""

from __future__ import annotations

import pytest
from support import images


@pytest.mark.parametrize("text", ["example:1", "example", "digest", "prefix", "hex"])
def test_bytes_as_they_came(filled, picture, text):
    text = {"digest": picture.digest, "prefix": picture.digest[:20], "hex": picture.digest[7:15]}.get(text, text)
    assert filled.ok("inspect", "--raw", text).out == picture.manifest
    assert filled.ok("inspect", "--config", text).out == picture.config


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_json_in_any_case(arstore, tmp_path, words):
    config = {
        "Env": ["A=b=c", "N=1\n2"],
        "Entrypoint": ["/e"],
        "Cmd": ["c", "流"],
        "User": "u:g",
        "WorkingDir": "/w",
        "Labels": {"l": "\x1b[31m"},
        "Volumes": {"/v": {}},
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGINT",
    }
    one = images.image(images.layer([images.file("a")]), names=["one:1"], config=config)
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "one.tar", one))
    result = arstore.ok("inspect", *words, "one:1")
    assert b"\x1b" not in result.out
    found = result.json
    assert found["digest"] == one.digest
    assert found["names"] == ["one:1"]
    assert found["media_type"] == images.OCI_MANIFEST
    assert found["config"] == one.config_digest
    assert found["env"] == config["Env"]
    assert found["entrypoint"] == ["/e"]
    assert found["cmd"] == ["c", "流"]
    assert (found["user"], found["working_dir"], found["stop_signal"]) == ("u:g", "/w", "SIGINT")
    assert found["labels"] == config["Labels"]
    assert (found["volumes"], found["exposed_ports"]) == (["/v"], ["80/tcp"])
    assert found["layers"] == [
        {
            "digest": one.layers[0].digest,
            "diff_id": one.diff_ids[0],
            "chain_id": one.chain_ids[0],
            "size": len(one.layers[0].tar),
            "compressed_size": len(one.layers[0].blob),
        }
    ]


def test_an_index_is_raw_itself_and_else_its_image_for_this_host(arstore, tmp_path):
    parts = [
        images.image(images.layer([images.file(name)]), architecture=name)
        for name in (images.HOST_ARCHITECTURE, "riscv64" if images.HOST_ARCHITECTURE != "riscv64" else "amd64")
    ]
    whole = images.index(*parts, names=["multi:1"])
    arstore.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "m.tar", whole))
    raw = arstore.ok("inspect", "--raw", "multi:1").out
    assert images.sha256(raw) == whole.digest
    assert arstore.ok("inspect", "multi:1").json["digest"] == parts[0].digest
    assert arstore.ok("inspect", "--config", "multi:1").out == parts[0].config


@pytest.mark.parametrize(("text", "status"), [("nothing:1", 3), ("abcd", 3), ("UPPER", 5), ("sha256:xyz", 5)])
def test_what_means_no_image(filled, text, status):
    for command in ("inspect", "history"):
        assert filled(command, text).status == status


def test_history_latest_first(filled, picture):
    steps = filled.ok("history", "--json", "example:1").json
    assert [step["created_by"] for step in steps] == ["layer 2", "layer 1", "layer 0"]
    assert [step["diff_id"] for step in steps] == picture.diff_ids[::-1]
    assert [step["digest"] for step in steps] == [layer.digest for layer in picture.layers[::-1]]
    assert [step["size"] for step in steps] == [len(layer.tar) for layer in picture.layers[::-1]]
    lines = filled.ok("history", "example:1").text.splitlines()
    assert lines[1].endswith("layer 2")
    assert lines[1].split()[2] == picture.diff_ids[2][7:19]


def stored(arstore, tmp_path, *layers, history):
    one = images.image(*layers, names=["one:1"], edit_config=lambda config: config.update(history=history))
    arstore.ok("-q", "import", images.write_oci_archive(tmp_path / "one.tar", one))
    return one


def test_history_with_steps_that_made_no_layer(arstore, tmp_path):
    history = [
        {"created_by": "first"},
        {"created_by": "second", "empty_layer": True},
        {"comment": "third\nline"},
    ]
    layers = [images.layer([images.file(name)]) for name in "ab"]
    one = stored(arstore, tmp_path, *layers, history=history)
    steps = arstore.ok("history", "--json", "one:1").json
    assert [step["diff_id"] for step in steps] == [one.diff_ids[1], None, one.diff_ids[0]]
    lines = arstore.ok("history", "one:1").text.splitlines()
    assert lines[1].endswith("third\\nline")
    assert lines[2].split() == ["-", "-", "-", "second"]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_history_that_lies_about_its_layers(arstore, tmp_path, count):
    layers = [images.layer([images.file(name)]) for name in "ab"]
    one = stored(arstore, tmp_path, *layers, history=[{"created_by": str(n)} for n in range(count)])
    steps = arstore.ok("history", "--json", "one:1").json
    assert [step["diff_id"] for step in steps if step["diff_id"]] == one.diff_ids[::-1]
    assert len(steps) == max(count, 2)
