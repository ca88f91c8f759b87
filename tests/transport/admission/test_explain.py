"""Sources under a policy: their names, and the signatures that count."""

import io
import json
import os

import pytest
from decisions import certificates
from support import attachments, images, signed

from arstore.errors import LimitError, ManifestError, SignatureError
from arstore.oci.docker_reference import DockerReference
from arstore.transport.admission.explain import judge_source
from arstore.transport.admission.gate import subject_of
from arstore.transport.detect import open_source
from arstore.transport.location import path_in
from arstore.transport.selection.selector import Wanted
from arstore.trust import dir_file
from arstore.trust.policy.document import read
from arstore.trust.rules import Rules
from arstore.trust.signature import MOST, SimpleSignature

NAME = "r.example/app:1"
IMAGE = images.image(images.layer([images.file("a", b"b")]), names=("app:1",), architecture="amd64")
OTHER = images.image(images.layer([images.file("a", b"c")]), names=("app:1",), architecture="s390x")
INDEX = images.index(IMAGE, OTHER, names=("app:1",))
OUTER = images.index(INDEX, names=("app:1",))
EVERY = Wanted(every=True)
KEY = signed.key()


def ruling(*requirements):
    exact = {"type": "exactReference", "dockerReference": NAME}
    path = {"type": "sigstoreSigned", "keyData": _base64(certificates.public("p256")), "signedIdentity": exact}
    return Rules.of(read(json.dumps({"default": list(requirements) or [path]}).encode(), "POLICY"))


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
            subject = subject_of(source, path_in(text))
        assert subject.transport == transport
        assert subject.scope == (os.path.realpath(path) if named else "")
        assert subject.reference is None


def test_a_stream_has_no_scope(tmp_path, spool):
    path = images.write_oci_archive(tmp_path / "image", IMAGE)
    with io.BytesIO(path.read_bytes()) as stdin, open_source("-", spool, stdin) as source:
        subject = subject_of(source, path_in("-"))
    assert (subject.transport, subject.scope, subject.namespaces) == ("oci-archive", "", ())


def test_a_registry_gives_its_reference():
    class Remote:
        transport = "docker"
        reference = DockerReference.parse("r.example/a:1")

    subject = subject_of(Remote(), "")
    assert subject.scope == "r.example/a:1"


def written(path, *files, instances=True):
    images.write_dir(path, IMAGE)
    if instances:
        (path / "manifest.json").write_bytes(INDEX.raw)
        for one in (IMAGE, OTHER):
            (path / f"{one.digest[7:]}.manifest.json").write_bytes(one.manifest)
            for digest, blob in one.blobs().items():
                if not (path / f"{digest[7:]}.manifest.json").exists():
                    (path / digest[7:]).write_bytes(blob)
    for name, data in files:
        (path / name).write_bytes(data)
    return path


def judged(path, spool, wanted=EVERY, rule=None):
    with open_source(str(path), spool) as source:
        found = judge_source(source, path_in(str(path)), wanted, rule or ruling())
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
    attachments.add_to_layout(path, signed.signature(KEY, OUTER.digest))
    verdicts = judged(path, spool, rule=Rules.of(read(json.dumps({"default": [signed.sigstore(KEY)]}).encode(), "P")))
    assert len(verdicts) == 2
    assert all(verdict.accepted for verdict in verdicts.values())


def test_a_list_that_is_not_understood_is_not_taken_in_parts(tmp_path, spool):
    signed_files = [("signature-1", signature(IMAGE)), ("signature-2", b"\0what\nx")]
    path = written(tmp_path / "x", *signed_files, instances=False)
    with pytest.raises(ManifestError, match="signature 2"):
        judged(path, spool)


def test_too_many_signatures(tmp_path, spool):
    files = [(f"signature-{number}", signature(IMAGE)) for number in range(1, MOST + 10)]
    path = written(tmp_path / "x", *files, instances=False)
    with pytest.raises(LimitError, match="more than 128 signatures"):
        judged(path, spool)
    for number in range(MOST + 1, MOST + 10):
        (path / f"signature-{number}").unlink()
    assert next(iter(judged(path, spool).values())).accepted


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
