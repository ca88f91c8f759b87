"""`import`: every kind of source, recognised by its content, with all its names; every digest matches the bytes."""

from __future__ import annotations

import json
import subprocess

import pytest
from support import images, peers

EXAMPLE = images.example()


def only(store, *arguments, **more):
    """The only image that an import reports."""
    (image,) = store.json("import", *arguments, **more)["images"]
    return image


def stored(store):
    """Digest to names of all images in the store."""
    return {one["digest"]: sorted(one["names"]) for one in store.json("images")}


FORMS = {
    "oci archive": lambda path, one: images.write_oci_archive(path / "x.tar", one),
    "oci layout": lambda path, one: images.write_layout(path / "x", one),
    "docker podman": lambda path, one: images.write_docker_archive(path / "x.tar", one),
    "docker old": lambda path, one: images.write_docker_archive(path / "x.tar", one, style="old"),
    "docker hybrid": lambda path, one: images.write_docker_archive(path / "x.tar", one, style="hybrid"),
    "containerd": lambda path, one: images.write_oci_archive(path / "x.tar", one, annotation=images.CONTAINERD_NAME),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_with_all_its_names(store, tmp_path, form):
    source = FORMS[form](tmp_path, images.example(names=["example:1", "registry.invalid:5000/team/example:2"]))
    image = only(store, source)
    assert image["config"] == EXAMPLE.config_digest
    assert [one["diff_id"] for one in image["layers"]] == EXAMPLE.diff_ids
    assert [one["chain_id"] for one in image["layers"]] == EXAMPLE.chain_ids
    assert [one["reused"] for one in image["layers"]] == [False] * 3
    assert sorted(image["names"]) == ["example:1", "registry.invalid:5000/team/example:2"]
    assert stored(store) == {image["digest"]: sorted(image["names"])}
    store.ok("check")


@pytest.mark.parametrize("form", ["oci archive", "oci layout", "containerd"])
def test_raw_bytes_are_kept(store, tmp_path, form):
    image = only(store, FORMS[form](tmp_path, EXAMPLE))
    assert image["digest"] == EXAMPLE.digest
    assert [one["digest"] for one in image["layers"]] == [one.digest for one in EXAMPLE.layers]
    assert [one["compressed_size"] for one in image["layers"]] == [len(one.blob) for one in EXAMPLE.layers]
    assert store.ok("inspect", "--raw", "example:1").out == EXAMPLE.manifest


def test_a_dir_directory(store, tmp_path):
    assert only(store, images.write_dir(tmp_path / "example", EXAMPLE))["digest"] == EXAMPLE.digest


@pytest.mark.parametrize("outer", images.COMPRESSIONS)
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_compression_around_the_archive(store, tmp_path, outer, form):
    write = images.write_oci_archive if form == "oci" else images.write_docker_archive
    path = write(tmp_path / "misleading.zip", EXAMPLE, compression=outer)
    assert only(store, path)["config"] == EXAMPLE.config_digest


@pytest.mark.parametrize("inner", images.COMPRESSIONS)
def test_compression_of_layers(store, tmp_path, inner):
    example = images.example(compression=inner)
    image = only(store, images.write_oci_archive(tmp_path / "x.tar", example))
    assert (image["digest"], [one["diff_id"] for one in image["layers"]]) == (example.digest, example.diff_ids)
    store.ok("check")


@pytest.mark.parametrize("outer", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_a_stream_on_stdin(store, tmp_path, outer, form):
    write = images.write_oci_archive if form == "oci" else images.write_docker_archive
    path = write(tmp_path / "x.tar", EXAMPLE, compression=outer)
    image = only(store, "-", data=path.read_bytes())
    assert (image["config"], image["names"]) == (EXAMPLE.config_digest, ["example:1"])
    assert "ingest" not in {path.split("/")[0] for path in store.files() if path.count("/") > 0}


@pytest.mark.parametrize(
    ("transport", "write"),
    [
        ("oci", images.write_layout),
        ("oci-archive", images.write_oci_archive),
        ("docker-archive", images.write_docker_archive),
        ("dir", images.write_dir),
    ],
)
def test_a_transport_by_name(store, tmp_path, transport, write):
    path = write(tmp_path / "example", EXAMPLE)
    assert only(store, f"{transport}:{path}")["config"] == EXAMPLE.config_digest


def test_one_image_of_several_by_reference(store, tmp_path):
    other = images.image(images.layer([images.file("other")]), names=["other:2"])
    path = images.write_layout(tmp_path / "both", EXAMPLE, other)
    assert only(store, f"oci:{path}:other:2")["digest"] == other.digest
    assert set(stored(store)) == {other.digest}


@pytest.mark.parametrize("form", ["oci", "podman", "old", "hybrid"])
def test_several_images_in_one_archive(store, tmp_path, form):
    other = images.image(images.layer([images.file("other")]), EXAMPLE.layers[0], names=["other:2", "third:3"])
    if form == "oci":
        path = images.write_oci_archive(tmp_path / "x.tar", EXAMPLE, other)
    else:
        path = images.write_docker_archive(tmp_path / "x.tar", EXAMPLE, other, style=form)
    found = {one["config"]: sorted(one["names"]) for one in store.json("import", path)["images"]}
    assert found == {EXAMPLE.config_digest: ["example:1"], other.config_digest: ["other:2", "third:3"]}


def test_what_is_there_is_reused(filled, archive):
    before = filled.bill(), filled.files()
    image = only(filled, archive)
    assert all(one["reused"] for one in image["layers"])
    assert (filled.bill(), filled.files()) == before


def test_a_layer_is_shared_by_another_image(filled, tmp_path):
    other = images.image(EXAMPLE.layers[0], images.layer([images.file("new")]), names=["other:1"])
    image = only(filled, images.write_oci_archive(tmp_path / "other.tar", other))
    assert [one["reused"] for one in image["layers"]] == [True, False]


def test_names_move_to_the_later_image(filled, tmp_path):
    later = images.image(images.layer([images.file("new")]), names=["example:1"])
    filled.ok("import", images.write_oci_archive(tmp_path / "later.tar", later))
    assert stored(filled) == {EXAMPLE.digest: [], later.digest: ["example:1"]}


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("pipeline.tar.gz", ["pipeline:latest"]),
        ("my-app_1.2.oci.tar", ["my-app_1.2:latest"]),
        ("流水线.tar.gz", []),
        ("with space.tar", []),
        ("--.tar", []),
    ],
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_an_image_without_a_name_is_named_after_its_file(store, tmp_path, file_name, expected, locale):
    path = images.write_oci_archive(tmp_path / file_name, images.example(names=[]), compression="gzip")
    image = only(store, path, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert image["names"] == expected
    for reference in [EXAMPLE.digest, EXAMPLE.digest[7:19], *expected]:
        assert store.json("inspect", reference)["digest"] == EXAMPLE.digest


def test_a_file_name_that_is_no_text(store, tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar", images.example(names=[]))
    odd = bytes(tmp_path) + b"/\xff\xfe.tar"
    path.rename(odd.decode("utf-8", "surrogateescape"))
    assert only(store, odd)["names"] == []


def test_the_user_names_it(store, archive):
    assert only(store, archive, "--name", "mine")["names"] == ["mine:latest"]
    assert only(store, archive, "--name", "localhost:5000/mine:v2")["names"] != []
    assert "localhost:5000/mine:v2" in stored(store)[EXAMPLE.digest]


# --- platforms ------------------------------------------------------------------------------------------------------


def platforms():
    """An index over amd64, arm64 and arm images, each with a different layer."""
    kinds = [("amd64", ""), ("arm64", "v8"), ("arm", "v7")]
    return [
        images.image(images.layer([images.file(name)]), architecture=name, variant=variant) for name, variant in kinds
    ]


def test_the_hosts_platform_is_taken_from_an_index(store, tmp_path):
    parts = platforms()
    path = images.write_oci_archive(tmp_path / "x.tar", images.index(*parts, names=["multi:1"]))
    image = only(store, path)
    expected = next(one for one in parts if json.loads(one.config)["architecture"] == images.HOST_ARCHITECTURE)
    assert image["config"] == expected.config_digest
    assert image["names"] == ["multi:1"]
    assert image["platform"].startswith(f"linux/{images.HOST_ARCHITECTURE}")


@pytest.mark.parametrize(("wanted", "place"), [("linux/arm64", 1), ("linux/arm64/v8", 1), ("linux/arm/v7", 2)])
def test_a_platform_asked_for(store, tmp_path, wanted, place):
    parts = platforms()
    nested = images.index(images.index(*parts), names=["multi:1"])
    path = images.write_layout(tmp_path / "x", nested)
    assert only(store, path, "--platform", wanted)["config"] == parts[place].config_digest


def test_all_platforms(store, tmp_path):
    parts = platforms()
    path = images.write_layout(tmp_path / "x", images.index(*parts, names=["multi:1"]))
    found = {one["config"] for one in store.json("import", path, "--all-platforms")["images"]}
    assert found == {one.config_digest for one in parts}


# --- output ---------------------------------------------------------------------------------------------------------


def test_stdout_for_people_is_a_line_an_image(store, archive):
    outcome = store.ok("import", archive)
    assert outcome.text == f"{EXAMPLE.digest} example:1\n"
    assert outcome.err != ""


def test_quiet_says_nothing_on_stderr(store, archive):
    assert store.ok("-q", "import", archive).err == ""


def test_progress_as_events(store, archive):
    err = store.ok("import", "--progress", "json", archive).err
    assert err
    assert all(isinstance(json.loads(line), dict) for line in err.splitlines())


def test_the_store_may_come_from_the_environment(store, archive):
    words = store.words("import", archive)
    options = words.index("--root")
    del words[options : options + 4]
    environment = store.environment(ARSTORE_ROOT=str(store.root), ARSTORE_RUNROOT=str(store.runroot))
    subprocess.run(words, env=environment, check=True, capture_output=True, cwd="/")
    assert list(stored(store)) == [EXAMPLE.digest]


def test_the_root_is_private(filled):
    assert filled.root.stat().st_mode & 0o777 == 0o700


# --- what other tools write -----------------------------------------------------------------------------------------


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize("target", ["oci", "oci-archive", "docker-archive", "dir"])
def test_what_skopeo_writes(store, tmp_path, archive, target):
    path = tmp_path / "by-skopeo"
    suffix = "" if target == "dir" else ":localhost/copied:7"
    peers.skopeo_copy(f"oci-archive:{archive}", f"{target}:{path}{suffix}")
    image = only(store, path)
    assert image["config"] == EXAMPLE.config_digest
    assert [one["diff_id"] for one in image["layers"]] == EXAMPLE.diff_ids
    if target != "dir":
        assert image["names"] == ["localhost/copied:7"]


@pytest.mark.tools("umoci")
def test_what_umoci_writes(store, tmp_path):
    layout = tmp_path / "tool"
    peers.run("umoci", "init", "--layout", layout)
    peers.run("umoci", "new", "--image", f"{layout}:1.5")
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("x")
    rootless = [] if peers.programs.is_root() else ["--rootless"]
    peers.run("umoci", "insert", *rootless, "--image", f"{layout}:1.5", tmp_path / "content", "/content")
    assert only(store, layout)["names"] == ["tool:1.5"]
    store.ok("check")


@pytest.mark.root
@pytest.mark.tools("buildah", "skopeo")
def test_what_buildah_writes(store, tmp_path, archive):
    with peers.buildah_mounted(f"oci-archive:{archive}", tmp_path / "storage") as mounted:
        storage = mounted.parents[2] if mounted.name == "merged" else mounted.parents[3]
        driver = "overlay" if mounted.name == "merged" else "vfs"
        options = ["--root", storage, "--runroot", storage.parent / "run", "--storage-driver", driver]
        image = peers.run("buildah", *options, "images", "--quiet").split()[0]
        policy = storage.parent / "policy.json"
        for kind in ("oci-archive", "docker-archive"):
            target = f"{kind}:{tmp_path}/{kind}.tar:localhost/built:3"
            peers.run("buildah", *options, "push", "--quiet", "--signature-policy", policy, image, target)
    for kind in ("oci-archive", "docker-archive"):
        image = only(store, tmp_path / f"{kind}.tar")
        assert image["names"] == ["localhost/built:3"]
        assert [one["diff_id"] for one in image["layers"]] == EXAMPLE.diff_ids
