"""`--policy` and `--require-signatures`: every command that imports, exports or uses images obeys them."""

from __future__ import annotations

import json
import os

import pytest
from support import attachments, images, runnable
from support import signed as signing
from support.signed import ACCEPT, REJECT

from arstore.errors import PolicyError, RejectedError, SyncFailedError

KEY, OTHER = signing.key(), signing.key()
PICTURE = images.example(names=["app:1"])


@pytest.fixture
def layout(tmp_path):
    return images.write_layout(tmp_path / "layout", PICTURE)


@pytest.fixture
def write(tmp_path):
    def make(name, default, **transports):
        return signing.policy(tmp_path / f"{name}.json", default, **transports)

    return make


COMMANDS = {
    "import": ("import", "{layout}"),
    "copy in": ("copy", "{layout}", "store:other:1"),
    "copy": ("copy", "{layout}", "oci:{out}"),
    "save": ("save", "app:1", "-o", "{out}"),
    "copy out": ("copy", "store:app:1", "oci:{out}"),
    "push": ("push", "app:1", "oci:{out}"),
    "unpack": ("unpack", "app:1", "{out}"),
    "mount": ("mount", "app:1"),
    "load": ("load", "app:1"),
    "load -i": ("load", "-i", "{layout}"),
}
USES = {"save", "copy out", "push", "unpack", "mount", "load"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_obeys(arstore, layout, write, tmp_path, name):
    reject, accept = write("reject", REJECT), write("accept", ACCEPT)
    words = [word.format(layout=layout, out=tmp_path / "out") for word in COMMANDS[name]]
    if name in USES:
        arstore.ok("import", layout)
    result = arstore(*words[:1], "--policy", reject, *words[1:])
    assert result.status == RejectedError.exit_code, result.err
    assert "every image is rejected" in result.err
    assert not (tmp_path / "out").exists()
    required = arstore(*words[:1], "--policy", accept, "--require-signatures", *words[1:])
    assert required.status == RejectedError.exit_code
    assert "signatures are required" in required.err
    if name not in {"load", "load -i", "mount"}:
        arstore.ok(*words[:1], "--policy", accept, *words[1:])


@pytest.mark.mounts
def test_mount(arstore, layout, write):
    arstore.ok("import", layout)
    arstore.ok("mount", "--policy", write("accept", ACCEPT), "app:1")
    arstore.ok("umount", "--all")


@pytest.mark.parametrize("target", ["dir:{}/out", "store:"])
def test_sync_reports_each_image_that_is_refused(arstore, layout, write, tmp_path, target):
    words = (f"oci:{layout}", target.format(tmp_path))
    result = arstore("sync", "--policy", write("reject", REJECT), *words)
    assert result.status == SyncFailedError.exit_code
    assert "every image is rejected" in result.err
    arstore.ok("sync", "--policy", write("accept", REJECT, oci={str(layout): ACCEPT}), *words)


def test_run_ends_as_its_own_failures_do(arstore, layout, write):
    arstore.ok("import", layout)
    result = arstore("run", "--json", "--policy", write("reject", REJECT), "app:1")
    assert result.status == 125
    assert result.error["kind"] == "Rejected"


def test_a_rejected_import_leaves_no_store(storeless, layout, write):
    assert storeless("import", "--policy", write("reject", REJECT), layout).status == RejectedError.exit_code
    assert not os.path.exists(f"{storeless.root}/store.json")


def test_a_root_tar_is_a_tarball(arstore, write, tmp_path):
    (tmp_path / "root.tar").write_bytes(images.tar([images.file("a", b"b")]))
    refused = arstore("import", "--policy", write("reject", REJECT), "--rootfs", tmp_path / "root.tar", "base:1")
    assert refused.status == RejectedError.exit_code
    arstore.ok(
        "import", "--policy", write("one", REJECT, tarball={"": ACCEPT}), "--rootfs", tmp_path / "root.tar", "b:1"
    )


def test_a_bad_policy_has_a_status_of_its_own(arstore, layout, tmp_path):
    (tmp_path / "bad.json").write_text('{"default": [{"type": "reject"}], "default": []}')
    result = arstore("import", "--policy", tmp_path / "bad.json", layout)
    assert result.status == PolicyError.exit_code
    assert "bad.json" in result.err
    assert arstore("import", "--policy", tmp_path / "none.json", layout).status == PolicyError.exit_code


def test_a_signed_image_is_used_under_its_policy_and_not_under_another(arstore, layout, write, tmp_path):
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    good, other = write("good", [signing.sigstore(KEY)]), write("other", [signing.sigstore(OTHER)])
    arstore.ok("import", "--policy", good, "--require-signatures", layout)
    arstore.ok("unpack", "--policy", good, "app:1", tmp_path / "out")
    assert arstore("unpack", "--policy", other, "app:1", tmp_path / "out2").status == RejectedError.exit_code


def test_across_the_gap_it_is_verified_again(arstore, layout, write, tmp_path):
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    good = write("good", [signing.sigstore(KEY)])
    arstore.ok("import", "--policy", good, layout)
    arstore.ok("save", "app:1", "-o", tmp_path / "carried.tar")
    far = ["--root", tmp_path / "far", "--runroot", tmp_path / "far-run"]
    arstore.ok(*far, "import", "--policy", good, tmp_path / "carried.tar")
    other = write("other", [signing.sigstore(OTHER)])
    assert arstore(*far, "import", "--policy", other, tmp_path / "carried.tar").status == RejectedError.exit_code


@pytest.mark.runtime
def test_what_a_pipeline_leaves_is_known_by_its_directory(arstore, write, tmp_path):
    made = runnable.write_runnable(tmp_path)
    if not made:
        pytest.skip("needs busybox")
    archive = {str(made["pipeline"]): ACCEPT}
    strict = write("strict", REJECT, oci_archive=archive)
    result = arstore("load", "--policy", strict, "-i", made["pipeline"])
    assert result.status != 0
    assert "every image is rejected" in result.err
    listed = json.loads(arstore.ok("images", "--json").out)
    assert [image["names"] for image in listed] == [["pipeline:latest"]]
    images_directory = f"{arstore.root}/pipeline/images"
    open_ = write(
        "open",
        REJECT,
        oci_archive={**archive, images_directory: ACCEPT},
        docker_archive={"": ACCEPT},
        oci={images_directory: ACCEPT},
    )
    arstore.ok("load", "--policy", open_, "-i", made["pipeline"])
    names = {name for image in json.loads(arstore.ok("images", "--json").out) for name in image["names"]}
    assert names == set(runnable.PIPELINE_NAMES)
