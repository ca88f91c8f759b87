"""Attachments go where their image goes, through every medium that can hold them, byte for byte."""

from __future__ import annotations

import json
import os
import tarfile

import pytest
from support import attachments, images, registry, stores
from support.cli import Arstore
from support.registry_user import become_unconfigured

from arstore.digest import Digest
from arstore.maintenance.check import check
from arstore.store.attachments import attachments as attachments_of

pytestmark = pytest.mark.root

PICTURE = stores.simple("a", names=("app:1",), compression="gzip")
LIST = attachments.sbom(PICTURE.descriptor())
VOUCHER = attachments.sbom(LIST.descriptor(), "a signature of the list", "application/vnd.cncf.notary.signature")
SIGNED = attachments.signature(PICTURE.digest, "first", "second")
ATTESTED = attachments.signature(PICTURE.digest, "said", suffix="att")
EVERY = (LIST, VOUCHER, SIGNED, ATTESTED)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A user without any configuration."""
    become_unconfigured(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def arstore(tmp_path):
    """The program."""
    return Arstore(tmp_path / "store", tmp_path / "run")


@pytest.fixture(params=[True, False], ids=["api", "fallback"])
def server(request):
    """A registry with the image and its attachments, with a list of referrers or without."""
    with registry.served(referrers=request.param) as served:
        fill(served)
        yield served


def fill(served, repository="team/app"):
    served.put_image(repository, "1", PICTURE)
    for one in EVERY:
        attachments.put(served, repository, one)
    if not served.referrers:
        for subject, one in ((PICTURE, LIST), (LIST, VOUCHER)):
            tag = subject.digest.replace(":", "-")
            served.put_manifest(repository, attachments.fallback(one), images.OCI_INDEX, tag)


def stored(arstore, digest=PICTURE.digest):
    """The attachments of one manifest in the store, with their tags."""
    with stores.made(arstore.root, arstore.runroot) as store:
        return {str(one.digest): one.tag for one in attachments_of(store, Digest(digest))}


def verify_complete(arstore, every=EVERY):
    """The store has everything, and is sound."""
    with stores.made(arstore.root, arstore.runroot) as store:
        keys = {key for key, _ in stores_attachments(store)}
        assert keys == {f"{subject_of(one)}/{one.digest}" for one in every}
        for one in every:
            for digest, data in one.blobs().items():
                assert store.read_blob(digest) == data
        assert [finding for finding in check(store) if not finding.harmless] == []


def stores_attachments(store):
    with store.graph.read() as snapshot:
        return list(snapshot.attachments())


def subject_of(one):
    subject = json.loads(one.raw).get("subject")
    return subject["digest"] if subject else one.tag.partition(".")[0].replace("-", ":")


def test_pull_takes_them_when_asked(arstore, server):
    arstore.ok("pull", "--tls-verify=false", f"docker://{server.host}/team/app:1")
    assert stored(arstore) == {}
    (image,) = arstore.json("pull", "--referrers", "--tls-verify=false", f"docker://{server.host}/team/app:1")["images"]
    assert sorted(image["attachments"]) == sorted([LIST.digest, SIGNED.digest, ATTESTED.digest])
    assert stored(arstore) == {LIST.digest: "", SIGNED.digest: "sig", ATTESTED.digest: "att"}
    assert stored(arstore, LIST.digest) == {VOUCHER.digest: ""}
    verify_complete(arstore)


@pytest.mark.parametrize("target", ["oci", "oci-archive", "docker-oci-archive"])
def test_what_was_pulled_is_saved_imported_and_pushed_again(arstore, server, tmp_path, target):
    arstore.ok("pull", "--referrers", "--name", "app:1", "--tls-verify=false", f"docker://{server.host}/team/app:1")
    done = arstore.json("save", "app:1", "--format", target, "-o", tmp_path / "out")
    assert (done["attached"], done["left"]) == (4, 0)
    other = Arstore(tmp_path / "other", tmp_path / "run2")
    taken = other.json("import", tmp_path / "out")
    assert taken["skipped"] == []
    assert [image["digest"] for image in taken["images"]] == [PICTURE.digest]
    verify_complete(other)
    for referrers in (True, False):
        with registry.served(referrers=referrers) as there:
            place = f"docker://{there.host}/copy/app:2"
            other.ok("push", "--tls-verify=false", "app:1", place)
            assert there.manifests["copy/app"].keys() == {PICTURE.digest}
            other.ok("push", "--referrers", "--tls-verify=false", "app:1", place)
            for one in EVERY:
                assert there.manifests["copy/app"][one.digest][1] == one.raw
                assert all(there.blobs["copy/app"][digest] == data for digest, data in one.own.items())
            assert there.tags["copy/app"][SIGNED.tag] == SIGNED.digest
            assert there.tags["copy/app"][ATTESTED.tag] == ATTESTED.digest
            third = Arstore(tmp_path / f"third{referrers}", tmp_path / "run3")
            third.ok("pull", "--referrers", "--tls-verify=false", place)
            verify_complete(third)
            # Existing blobs are not sent again.
            before = len(there.log)
            other.ok("push", "--referrers", "--tls-verify=false", "app:1", place)
            assert {one.method for one in there.log[before:]} <= {"GET", "HEAD"}


def test_copy_between_registries_moves_them_when_asked(arstore, server):
    source = f"docker://{server.host}/team/app:1"
    with registry.served() as there:
        place = f"docker://{there.host}/x:1"
        arstore.ok("copy", "--tls-verify=false", source, place)
        assert there.manifests["x"].keys() == {PICTURE.digest}
        arstore.ok("copy", "--referrers", "--tls-verify=false", source, place)
        assert there.manifests["x"].keys() == {PICTURE.digest, *(one.digest for one in EVERY)}


def test_what_came_later_is_an_import_of_its_own(arstore, server):
    source = f"docker://{server.host}/team/app:1"
    arstore.ok("pull", "--referrers", "--tls-verify=false", source)
    late = attachments.sbom(PICTURE.descriptor(), "found later")
    attachments.put(server, "team/app", late)
    if not server.referrers:
        tag = PICTURE.digest.replace(":", "-")
        server.put_manifest("team/app", attachments.fallback(LIST, late), images.OCI_INDEX, tag)
    before = len(server.asked("GET", "/blobs/"))
    arstore.ok("pull", "--referrers", "--tls-verify=false", source)
    verify_complete(arstore, (*EVERY, late))
    assert len(server.asked("GET", "/blobs/")) - before <= 2  # the config, and the one blob that is new


def test_a_list_that_lies_is_not_believed(arstore, places):
    other = attachments.sbom(stores.simple("b").descriptor(), "of another image")
    with registry.served(referrers=False) as served:
        served.put_image("team/app", "1", PICTURE)
        attachments.put(served, "team/app", other)
        tag = PICTURE.digest.replace(":", "-")
        served.put_manifest("team/app", attachments.fallback(other), images.OCI_INDEX, tag)
        done = arstore.ok("pull", "--referrers", "--tls-verify=false", f"docker://{served.host}/team/app:1")
    assert "does not name it as its subject" in done.err
    assert stored(arstore) == {}


def test_at_most_128_are_examined(arstore):
    many = [attachments.sbom(PICTURE.descriptor(), str(number)) for number in range(130)]
    with registry.served() as served:
        served.put_image("team/app", "1", PICTURE)
        for one in many:
            attachments.put(served, "team/app", one)
        arstore.ok("pull", "--referrers", "--tls-verify=false", f"docker://{served.host}/team/app:1")
        opened = {one.path for one in served.asked("GET", "/manifests/sha256:")}
    assert len(stored(arstore)) == 128
    assert len(opened) <= 130


# --- layouts ----------------------------------------------------------------------------------------------------------


def layout_of(path, *artifacts, **more):
    layout = images.write_layout(path / "layout", PICTURE)
    attachments.add_to_layout(layout, *artifacts, **more)
    return layout


def test_a_layout_brings_them_without_being_asked(arstore, tmp_path):
    taken = arstore.json("import", layout_of(tmp_path, *EVERY))
    assert (len(taken["images"]), taken["skipped"]) == (1, [])
    verify_complete(arstore)


def test_a_layout_as_cosign_saves_it(arstore, tmp_path):
    kind = "dev.cosignproject.cosign"
    layout = images.write_layout(tmp_path / "layout", stores.simple("a", compression="gzip"))
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0]["annotations"] = {"kind": f"{kind}/image"}
    (layout / "index.json").write_bytes(images.dump(index))
    for one, word in ((SIGNED, "sigs"), (ATTESTED, "atts")):
        attachments.add_to_layout(layout, one, annotations={"kind": f"{kind}/{word}"})
    taken = arstore.json("import", layout)
    assert [image["names"] for image in taken["images"]] == [["layout:latest"]]
    assert taken["skipped"] == []
    verify_complete(arstore, (SIGNED, ATTESTED))


@pytest.mark.parametrize("archived", [False, True])
def test_a_layout_as_cosign_3_saves_it(arstore, tmp_path, archived):
    """Attachments of the image are unlisted blobs; blobs that only look like them are skipped."""
    layout = images.write_layout(tmp_path / "layout", stores.simple("a", compression="gzip"))
    index = json.loads((layout / "index.json").read_bytes())
    before = images.dump(index)
    attachments.add_to_layout(layout, LIST, VOUCHER)
    (layout / "index.json").write_bytes(before)
    blobs = layout / "blobs/sha256"
    forged = attachments.sbom(PICTURE.descriptor(), "forged")
    (blobs / forged.digest.partition(":")[2]).write_bytes(forged.raw.replace(b"sbom", b"SBOM") + b" ")
    (blobs / ("0" * 64)).write_bytes(b"{")
    (blobs / "notes").write_bytes(b"{}")
    source = layout
    if archived:
        source = tmp_path / "layout.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(layout, ".")
    # Only cosign's layouts are searched.
    arstore.ok("import", source)
    verify_complete(arstore, ())
    index["manifests"][0]["annotations"] = {"kind": "dev.cosignproject.cosign/image"}
    (layout / "index.json").write_bytes(images.dump(index))
    if archived:
        with tarfile.open(source, "w") as tar:
            tar.add(layout, ".")
    taken = arstore.json("import", source)
    assert (len(taken["images"]), taken["skipped"]) == (1, [])
    verify_complete(arstore, (LIST, VOUCHER))


def test_a_layout_with_an_index_of_referrers(arstore, tmp_path):
    layout = images.write_layout(tmp_path / "layout", PICTURE)
    raw = attachments.fallback(LIST)
    attachments.add_to_layout(layout, attachments.Artifact(raw, LIST.blobs(), PICTURE.digest.replace(":", "-")))
    entries = json.loads((layout / "index.json").read_bytes())
    entries["manifests"][-1]["mediaType"] = images.OCI_INDEX
    (layout / "index.json").write_bytes(images.dump(entries))
    taken = arstore.json("import", layout)
    assert (len(taken["images"]), taken["skipped"]) == (1, [])
    verify_complete(arstore, (LIST,))


def test_an_image_that_names_a_subject_is_attached_unless_it_has_a_name(arstore, tmp_path):
    subject = {key: PICTURE.descriptor()[key] for key in ("mediaType", "digest", "size")}
    base = stores.simple("b", compression="gzip")
    document = {**json.loads(base.manifest), "subject": subject}
    one = attachments.Artifact(images.dump(document), {k: v for k, v in base.blobs().items() if k != base.digest})
    taken = arstore.json("import", layout_of(tmp_path, one))
    assert [image["digest"] for image in taken["images"]] == [PICTURE.digest]
    assert stored(arstore) == {one.digest: ""}
    named = Arstore(tmp_path / "named", tmp_path / "run2")
    notes = {"org.opencontainers.image.ref.name": "other:1"}
    (tmp_path / "x").mkdir()
    taken = named.json("import", layout_of(tmp_path / "x", one, annotations=notes))
    assert {image["digest"] for image in taken["images"]} == {PICTURE.digest, one.digest}


def test_what_belongs_to_something_else_is_skipped_as_before(arstore, tmp_path):
    lost = attachments.sbom(stores.simple("elsewhere").descriptor())
    taken = arstore.json("import", layout_of(tmp_path, lost))
    assert [one["digest"] for one in taken["skipped"]] == [lost.digest]
    assert stored(arstore) == {}


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_an_attachment_that_is_not_whole(arstore, tmp_path, harm):
    layout = layout_of(tmp_path, LIST)
    (layer,) = json.loads(LIST.raw)["layers"]
    blob = layout / "blobs/sha256" / layer["digest"].partition(":")[2]
    if harm == "missing":
        blob.unlink()
        done = arstore.ok("import", layout)
        assert "cannot be taken" in done.err
        assert stored(arstore) == {}
        return
    blob.write_bytes(blob.read_bytes()[::-1])
    arstore.fails("DigestMismatch", "import", layout)
    assert not os.path.exists(arstore.root / "store.json")


def test_the_empty_content_need_not_be_there(arstore, tmp_path):
    layout = layout_of(tmp_path, LIST)
    (layout / "blobs/sha256" / images.sha256(b"{}").partition(":")[2]).unlink()
    arstore.ok("import", layout)
    verify_complete(arstore, (LIST,))


def test_a_written_layout_marks_them_as_other_tools_do(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, *EVERY))
    arstore.ok("copy", "store:app:1", f"oci:{tmp_path / 'out'}")
    entries = attachments.listed(tmp_path / "out")
    kind = "dev.cosignproject.cosign"
    assert entries[PICTURE.digest]["annotations"]["kind"] == f"{kind}/image"
    assert entries[SIGNED.digest]["annotations"] == {
        "kind": f"{kind}/sigs",
        "org.opencontainers.image.ref.name": SIGNED.tag,
    }
    assert entries[ATTESTED.digest]["annotations"]["kind"] == f"{kind}/atts"
    assert entries[LIST.digest]["artifactType"] == attachments.SBOM
    # Existing signatures stay when others of the same image are added.
    more = attachments.signature(PICTURE.digest, "third")
    other = Arstore(tmp_path / "other", tmp_path / "run2")
    (tmp_path / "x").mkdir()
    other.ok("import", layout_of(tmp_path / "x", more))
    other.ok("copy", "store:app:1", f"oci:{tmp_path / 'out'}")
    assert {SIGNED.digest, more.digest} <= attachments.listed(tmp_path / "out").keys()


def test_they_can_be_left(arstore, tmp_path):
    layout = layout_of(tmp_path, *EVERY)
    taken = arstore.json("import", "--no-referrers", layout)
    assert (len(taken["images"]), stored(arstore)) == (1, {})
    arstore.ok("import", layout)
    done = arstore.json("save", "--no-referrers", "app:1", "--format", "oci", "-o", tmp_path / "out")
    assert (done["attached"], done["left"]) == (0, 0)
    assert attachments.listed(tmp_path / "out").keys() == {PICTURE.digest}
    arstore.fails("Usage", "save", "--no-referrers", "--referrers", "app:1", "-o", tmp_path / "x")


def test_copies_of_an_archive_are_the_same_bytes(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, *EVERY))
    for name in ("one", "two"):
        arstore.ok("save", "app:1", "-o", tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))


# --- media that hold some, or none ------------------------------------------------------------------------------------


def test_a_docker_archive_has_no_place_for_them(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, *EVERY))
    words = ("save", "app:1", "--format", "docker-archive", "-o", tmp_path / "out")
    assert f"{PICTURE.digest} is signed" in arstore.fails("Conversion", *words)
    done = arstore.ok(*words, "--remove-signatures")
    assert "did not copy 2 attachments: a docker-archive cannot hold them" in done.err


def test_a_signed_attachment_does_not_keep_its_image_from_being_copied(arstore, tmp_path):
    """The image itself is not signed: it may be converted, and its attachments are then not copied."""
    arstore.ok("import", layout_of(tmp_path, LIST, VOUCHER))
    arstore.ok("save", "app:1", "-o", tmp_path / "same.tar")
    done = arstore.ok("save", "app:1", "--compression", "zstd", "-o", tmp_path / "other.tar")
    assert "did not copy 2 attachments: their image was converted" in done.err


def test_a_converted_image_leaves_them_behind(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, LIST))
    done = arstore.ok("copy", "store:app:1", f"oci:{tmp_path / 'out'}", "--compression", "zstd")
    assert "did not copy 1 attachment: their image was converted" in done.err
    assert len(attachments.listed(tmp_path / "out")) == 1


def test_a_dir_holds_signatures_as_files(arstore, tmp_path):
    place = images.write_dir(tmp_path / "flat", PICTURE)
    files = [attachments.sigstore_file(PICTURE.digest, word) for word in ("first", "second")]
    files.append(b"\x90\x0d an OpenPGP message")
    for number, data in enumerate(files, 1):
        (place / f"signature-{number}").write_bytes(data)
    arstore.ok("import", "--name", "app:1", f"dir:{place}")
    kinds = {one["artifact_type"] for one in arstore.json("referrers", "store:app:1")["referrers"]}
    assert kinds == {attachments.SIGNING, "application/vnd.arstore.signature.openpgp.v1"}
    attachments.add_to_layout(layout := images.write_layout(tmp_path / "layout", PICTURE), LIST)
    arstore.ok("import", layout)
    done = arstore.ok("copy", "store:app:1", f"dir:{tmp_path / 'back'}")
    assert "did not copy 1 attachment: a dir: can only hold simple signatures" in done.err
    back = [(tmp_path / "back" / f"signature-{number}").read_bytes() for number in (1, 2, 3)]
    assert not (tmp_path / "back" / "signature-4").exists()
    assert sorted(back) == sorted(files)
    # Repeated: the same signatures are the same manifests.
    again = Arstore(tmp_path / "again", tmp_path / "run2")
    again.ok("import", "--name", "app:1", f"dir:{tmp_path / 'back'}")
    assert stored(again).items() <= stored(arstore).items()


def test_a_dir_of_an_index_has_signatures_of_its_instances(arstore, tmp_path):
    parts = [images.image(images.layer([images.file("x", b"x")]), architecture=one) for one in ("amd64", "arm64")]
    index = images.index(*parts)
    place = tmp_path / "flat"
    place.mkdir()
    (place / "version").write_text("Directory Transport Version: 1.1\n")
    (place / "manifest.json").write_bytes(index.raw)
    for part in parts:
        for digest, data in part.blobs().items():
            hexa = digest.partition(":")[2]
            (place / (f"{hexa}.manifest.json" if digest == part.digest else hexa)).write_bytes(data)
        name = f"{part.digest.partition(':')[2]}.signature-1"
        (place / name).write_bytes(attachments.sigstore_file(part.digest, part.digest))
    (place / "signature-1").write_bytes(attachments.sigstore_file(index.digest, "the index"))
    arstore.ok("import", "--all-platforms", "--name", "app:1", f"dir:{place}")
    for digest in (index.digest, *(part.digest for part in parts)):
        assert list(stored(arstore, digest).values()) == ["sig"]
    arstore.ok("copy", "--all-platforms", "store:app:1", f"dir:{tmp_path / 'back'}")
    for part in parts:
        assert (tmp_path / "back" / f"{part.digest.partition(':')[2]}.signature-1").exists()
    assert (tmp_path / "back" / "signature-1").exists()


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0other-form\n{}", b"\0sigstore-json\n{", b'\0sigstore-json\n{"payload":"?"}']
)
def test_a_file_that_is_no_signature_is_refused(arstore, tmp_path, data):
    place = images.write_dir(tmp_path / "flat", PICTURE)
    (place / "signature-1").write_bytes(data)
    arstore.fails("Manifest", "import", f"dir:{place}")


def test_129_signatures_are_refused(arstore, tmp_path):
    place = images.write_dir(tmp_path / "flat", PICTURE)
    for number in range(1, 130):
        (place / f"signature-{number}").write_bytes(b"\x90" + str(number).encode())
    arstore.fails("Limit", "import", f"dir:{place}")
    (place / "signature-129").unlink()
    arstore.ok("import", "--name", "app:1", f"dir:{place}")
    assert len(stored(arstore)) == 128


# --- tags at registries -----------------------------------------------------------------------------------------------


def test_signatures_under_a_tag_are_united_with_those_that_are_there(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, attachments.signature(PICTURE.digest, "second", "third")))
    with registry.served() as there:
        there.put_image("x", "1", PICTURE)
        attachments.put(there, "x", attachments.signature(PICTURE.digest, "first", "second"))
        arstore.ok("push", "--referrers", "--tls-verify=false", "app:1", f"docker://{there.host}/x:1")
        digest = there.tags["x"][SIGNED.tag]
        manifest = json.loads(there.manifests["x"][digest][1])
        words = [one["annotations"]["dev.cosignproject.cosign/signature"] for one in manifest["layers"]]
        assert words == ["Zmlyc3Q=", "c2Vjb25k", "dGhpcmQ="]
        config = json.loads(there.blobs["x"][manifest["config"]["digest"]])
        assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]
        before = len(there.log)
        arstore.ok("push", "--referrers", "--tls-verify=false", "app:1", f"docker://{there.host}/x:1")
        assert {one.method for one in there.log[before:]} <= {"GET", "HEAD"}
        # The union comes back as one.
        arstore.ok("pull", "--referrers", "--tls-verify=false", f"docker://{there.host}/x:1")
        assert digest in stored(arstore)


def test_what_is_attached_comes_before_the_tag(arstore, tmp_path):
    arstore.ok("import", layout_of(tmp_path, *EVERY))
    with registry.served() as there:
        arstore.ok("push", "--referrers", "--tls-verify=false", "app:1", f"docker://{there.host}/x:1")
        puts = [one.path for one in there.asked("PUT", "/manifests/")]
    assert puts[-1].endswith("/manifests/1")
    assert len(puts) == 5
