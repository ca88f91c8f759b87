"""Sources before a policy: what they are called, and whose signatures count."""

import io
import json
import os

import pytest
from decisions import certificates
from support import images

from arstore.digest import Digest
from arstore.errors import RejectedError, SignatureError
from arstore.oci.docker_reference import DockerReference
from arstore.transport.detect import open_source
from arstore.transport.location import Location, parse_location
from arstore.transport.selection.judging import Ruling, beside, judge_source, subject_of
from arstore.transport.selection.selector import Wanted
from arstore.trust import cosign, dir_file
from arstore.trust.policy.document import read
from arstore.trust.signature import MOST, SimpleSignature

NAME = "r.example/app:1"
IMAGE = images.image(images.layer([images.file("a", b"b")]), names=("app:1",), architecture="amd64")
OTHER = images.image(images.layer([images.file("a", b"c")]), names=("app:1",), architecture="s390x")
INDEX = images.index(IMAGE, OTHER, names=("app:1",))
OUTER = images.index(INDEX, names=("app:1",))
EVERY = Wanted(every=True)


def ruling(*requirements):
    exact = {"type": "exactReference", "dockerReference": NAME}
    path = {"type": "sigstoreSigned", "keyData": _base64(certificates.public("p256")), "signedIdentity": exact}
    return Ruling(read(json.dumps({"default": list(requirements) or [path]}).encode(), "POLICY"))


def _base64(data):
    import base64

    return base64.b64encode(data).decode()


def signature(picture):
    return certificates.signed(picture.digest, "p256", NAME)


@pytest.mark.parametrize(
    ("write", "transport", "named"),
    [
        (lambda path: images.write_layout(path, IMAGE), "oci", True),
        (lambda path: images.write_oci_archive(path, IMAGE), "oci-archive", True),
        (lambda path: images.write_docker_archive(path, IMAGE), "docker-archive", False),
        (lambda path: images.write_docker_archive(path, IMAGE, style="hybrid"), "oci-archive", True),
        (lambda path: images.write_dir(path, IMAGE), "dir", True),
        (lambda path: images.write_archive(path, images.dir_files(IMAGE)), "dir", True),
    ],
)
def test_what_a_source_is_called(tmp_path, spool, write, transport, named):
    path = write(tmp_path / "image")
    (tmp_path / "link").symlink_to(tmp_path / "image")
    for text in (str(path), str(tmp_path / "link")):
        with open_source(text, spool) as source:
            subject = subject_of(source, parse_location(text))
        assert subject.transport == transport
        assert subject.scope == (os.path.realpath(path) if named else "")
        assert subject.reference is None


def test_a_stream_has_no_scope(tmp_path, spool):
    path = images.write_oci_archive(tmp_path / "image", IMAGE)
    with io.BytesIO(path.read_bytes()) as stdin, open_source("-", spool, stdin) as source:
        subject = subject_of(source, parse_location("-"))
    assert (subject.transport, subject.scope, subject.namespaces) == ("oci-archive", "", ())


def test_a_registry_gives_its_reference():
    class Remote:
        reference = DockerReference.parse("r.example/a:1")

    subject = subject_of(Remote(), Location("r.example/a:1", "docker"))
    assert subject.scope == "r.example/a:1"


def written(path, *signed, instances=True):
    images.write_dir(path, IMAGE)
    if instances:
        (path / "manifest.json").write_bytes(INDEX.raw)
        for one in (IMAGE, OTHER):
            (path / f"{one.digest[7:]}.manifest.json").write_bytes(one.manifest)
            for digest, blob in one.blobs().items():
                if not (path / f"{digest[7:]}.manifest.json").exists():
                    (path / digest[7:]).write_bytes(blob)
    for name, data in signed:
        (path / name).write_bytes(data)
    return path


def judged(path, spool, wanted=EVERY, rule=None):
    with open_source(str(path), spool) as source:
        found = judge_source(source, parse_location(str(path)), wanted, rule or ruling(), beside(source))
        return {one.digest: one.verdict for one in found}


def test_signatures_of_a_dir(tmp_path, spool):
    path = written(
        tmp_path / "x", ("signature-1", signature(OTHER)), ("signature-2", signature(IMAGE)), instances=False
    )
    (verdict,) = judged(path, spool).values()
    assert verdict.accepted
    (path / "signature-1").unlink()
    (verdict,) = judged(path, spool).values()
    assert "there is none" in verdict.reason


def test_signatures_of_instances(tmp_path, spool):
    path = written(tmp_path / "x", (f"{IMAGE.digest[7:]}.signature-1", signature(IMAGE)))
    verdicts = judged(path, spool)
    assert verdicts[IMAGE.digest].accepted
    assert not verdicts[OTHER.digest].accepted


def test_a_signature_of_the_index_is_for_all(tmp_path, spool):
    path = written(tmp_path / "x", ("signature-1", signature(INDEX)))
    verdicts = judged(path, spool)
    assert len(verdicts) == 2
    assert all(verdict.accepted for verdict in verdicts.values())
    assert {verdict.outcomes[0].attempts[0].on for verdict in verdicts.values()} == {INDEX.digest}


def test_a_signature_of_an_outer_index_is_for_all(tmp_path, spool):
    path = images.write_layout(tmp_path / "x", OUTER)
    asked = []

    def signatures(digest):
        asked.append(digest)
        return [dir_file.read_file(signature(OUTER))] if digest == OUTER.digest else []

    with open_source(str(path), spool) as source:
        found = judge_source(source, parse_location(str(path)), EVERY, ruling(), signatures)
    assert len(found) == 2
    assert all(one.verdict.accepted for one in found)
    assert {OUTER.digest, INDEX.digest, IMAGE.digest} <= set(asked)


def test_a_list_that_is_not_understood_is_not_taken_in_parts(tmp_path, spool):
    signed = [("signature-1", signature(IMAGE)), ("signature-2", b"\0what\nx")]
    (verdict,) = judged(written(tmp_path / "x", *signed, instances=False), spool).values()
    assert "has the form 'what'" in verdict.reason


def test_too_many_signatures(tmp_path, spool):
    signed = [(f"signature-{number}", signature(IMAGE)) for number in range(1, MOST + 10)]
    path = written(tmp_path / "x", *signed, instances=False)
    (verdict,) = judged(path, spool).values()
    assert "there are 129, and 128 are allowed" in verdict.reason
    (path / "signature-129").unlink()
    assert next(iter(judged(path, spool).values())).accepted


def test_what_is_attached_in_a_layout(tmp_path, spool):
    path = images.write_layout(tmp_path / "x", IMAGE)
    (verdict,) = judged(path, spool).values()
    assert "there is none" in verdict.reason
    with pytest.raises(RejectedError):
        verdict.require("x")
    (verdict,) = judged(path, spool, rule=ruling({"type": "insecureAcceptAnything"})).values()
    assert verdict.accepted
    attach(path, OTHER, [dir_file.read_file(signature(IMAGE))])
    assert not next(iter(judged(path, spool).values())).accepted
    attach(path, IMAGE, [dir_file.read_file(signature(OTHER)), dir_file.read_file(signature(IMAGE))])
    assert next(iter(judged(path, spool).values())).accepted


def test_what_is_attached_and_cannot_be_read_does_no_harm(tmp_path, spool):
    path = images.write_layout(tmp_path / "x", IMAGE)
    carrier = attach(path, IMAGE, [dir_file.read_file(signature(IMAGE))])
    for blob in carrier.blobs:
        (path / "blobs" / "sha256" / Digest.of(blob).hex).unlink()
    (verdict,) = judged(path, spool).values()
    assert "there is none" in verdict.reason


def attach(path, image, signatures):
    """Put *signatures* of *image* into a layout, as cosign has them."""
    carrier = cosign.carry(signatures)
    for blob in (carrier.manifest, *carrier.blobs):
        (path / "blobs" / "sha256" / Digest.of(blob).hex).write_bytes(blob)
    index = json.loads((path / "index.json").read_text())
    named = {"org.opencontainers.image.ref.name": cosign.tag_of(Digest(image.digest))}
    entry = {"mediaType": cosign.MANIFEST, "digest": carrier.digest, "size": len(carrier.manifest)}
    index["manifests"].append(entry | {"annotations": named})
    (path / "index.json").write_text(json.dumps(index))
    return carrier


def test_what_an_index_lists_need_not_be_there(tmp_path, spool):
    path = written(tmp_path / "x", ("signature-1", signature(INDEX)))
    (path / f"{OTHER.digest[7:]}.manifest.json").unlink()
    verdicts = judged(path, spool)
    assert {digest: verdict.accepted for digest, verdict in verdicts.items()} == {IMAGE.digest: True}


def test_files_of_signatures():
    good = signature(IMAGE)
    attestation = certificates.signed(IMAGE.digest, "attestation", NAME)
    assert len(dir_file.read_files([good, attestation, good])) == 2
    assert dir_file.read_files([b"\xa3x"]) == [SimpleSignature(b"\xa3x")]
    for bad in (b"", b"\0x", b"\0sigstore-json\n{}", b"\0sigstore-json\n[", b"\0sigstore-json\n" + b" " * (5 << 20)):
        with pytest.raises(SignatureError):
            dir_file.read_files([good, bad])
