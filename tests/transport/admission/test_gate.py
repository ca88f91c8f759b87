"""The policy judges every image, from any source, before its config is read; and again when it is used."""

from __future__ import annotations

import json
import shutil

import pytest
from support import attachments, images, stores
from support import signed as signing
from support.signed import ACCEPT, REFERENCE, REJECT

from arstore.errors import DigestMismatchError, LimitError, MissingBlobError, PolicyError, RejectedError
from arstore.oci.docker_reference import DockerReference
from arstore.transport.admission.kept import require_admitted
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.registry import RegistrySource
from arstore.transport.selection.selector import Wanted
from arstore.trust.rules import Rules

KEY, OTHER = signing.key(), signing.key()
PICTURE = images.example(names=["app:1"])
ARM = images.example(architecture="arm64", names=["app:1"])


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
def layout(tmp_path):
    return images.write_layout(tmp_path / "layout", PICTURE)


@pytest.fixture
def rules(tmp_path):
    """Makes the rules of a policy."""

    def make(default, require=False, **transports):
        return Rules(str(signing.policy(tmp_path / "policy.json", default, **transports)), require)

    return make


def bring(store, source, rules, **words):
    return import_reference(store, str(source), ImportOptions(rules=rules, **words))


def signed_by(key=KEY, **identity):
    return [signing.sigstore(key, **identity)]


def test_a_signed_image_comes_in_and_the_signature_stays(store, layout, rules):
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    bring(store, f"oci:{layout}", rules(signed_by()))
    assert [image.digest for image in store.images()] == [PICTURE.digest]
    require_admitted(store, store.find("app:1"), rules(signed_by()))


@pytest.mark.parametrize("what", ["none", "key", "digest", "name"])
def test_what_is_not_signed_as_the_policy_asks_is_refused(store, layout, rules, what):
    if what == "key":
        attachments.add_to_layout(layout, signing.signature(OTHER, PICTURE.digest))
    elif what == "digest":
        wrong = signing.signature(KEY, ARM.digest)
        tag = signing.signature(KEY, PICTURE.digest).tag
        attachments.add_to_layout(layout, attachments.Artifact(wrong.raw, wrong.own, tag))
    elif what == "name":
        attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest, "example.com/other:1"))
    before = stores.State(store)
    with pytest.raises(RejectedError, match="sigstoreSigned"):
        bring(store, layout, rules(signed_by()))
    before.verify()


def test_the_config_is_not_read_before_the_policy_accepts(store, layout, rules):
    config = layout / "blobs" / PICTURE.config_digest.replace(":", "/")
    config.write_bytes(b"{" * config.stat().st_size)
    with pytest.raises(RejectedError):
        bring(store, layout, rules(REJECT))
    with pytest.raises(DigestMismatchError):
        bring(store, layout, rules(ACCEPT))


def test_a_config_that_tells_the_platform_is_not_read_either(store, tmp_path, rules):
    layout = images.write_layout(tmp_path / "two", PICTURE, ARM)
    index = json.loads((layout / "index.json").read_bytes())
    for entry in index["manifests"]:
        entry.pop("platform", None)
    (layout / "index.json").write_bytes(images.dump(index))
    for config in (PICTURE.config_digest, ARM.config_digest):
        (layout / "blobs" / config.replace(":", "/")).unlink()
    with pytest.raises(RejectedError):
        bring(store, layout, rules(REJECT), wanted=Wanted())
    with pytest.raises(MissingBlobError):
        bring(store, layout, rules(ACCEPT), wanted=Wanted())


def test_a_signature_of_the_index_is_good_for_its_images(store, tmp_path, rules):
    both = images.index(PICTURE, ARM, names=["app:1"])
    layout = images.write_layout(tmp_path / "index", both)
    with pytest.raises(RejectedError):
        bring(store, layout, rules(signed_by()))
    attachments.add_to_layout(layout, signing.signature(KEY, both.digest))
    (taken,) = bring(store, layout, rules(signed_by()))
    assert taken.digest == PICTURE.digest
    bring(store, layout, rules(signed_by()), wanted=Wanted(every=True))
    assert {image.digest for image in store.images()} == {both.digest, PICTURE.digest, ARM.digest}


def test_one_unsigned_image_of_an_index_keeps_all_out(store, tmp_path, rules):
    layout = images.write_layout(tmp_path / "index", images.index(PICTURE, ARM, names=["app:1"]))
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    assert len(bring(store, layout, rules(signed_by()))) == 1
    with pytest.raises(RejectedError, match=ARM.digest):
        bring(store, layout, rules(signed_by()), wanted=Wanted(every=True))


def test_a_signed_index_does_not_vouch_for_an_image_that_it_does_not_list(store, tmp_path, rules):
    other = images.example(compression="none", names=["signed:1"])
    signed = images.index(other, names=["signed:1"])
    layout = images.write_layout(tmp_path / "index", signed, PICTURE)
    attachments.add_to_layout(layout, signing.signature(KEY, signed.digest))
    with pytest.raises(RejectedError, match=PICTURE.digest):
        bring(store, layout, rules(signed_by()))


def test_a_bundle_counts_where_the_named_file_asks_for_no_name(store, layout, rules):
    entry = {"mediaType": images.OCI_MANIFEST, "digest": PICTURE.digest, "size": len(PICTURE.manifest)}
    attachments.add_to_layout(layout, signing.bundle(KEY, entry, PICTURE.manifest))
    with pytest.raises(RejectedError, match="does not name a repository"):
        bring(store, layout, rules(signed_by()))


@pytest.mark.parametrize(("scope", "accepted"), [("layout", True), ("", True), ("other", False)])
def test_scopes_are_paths(store, layout, rules, scope, accepted, tmp_path):
    place = str(tmp_path / scope) if scope != "" else ""
    chosen = rules(REJECT, oci={place: ACCEPT})
    if accepted:
        bring(store, layout, chosen)
    else:
        with pytest.raises(RejectedError, match="default"):
            bring(store, layout, chosen)


def test_a_directory_above_is_a_scope_and_symlinks_are_followed(store, layout, rules, tmp_path):
    (tmp_path / "link").symlink_to(layout)
    bring(store, tmp_path / "link", rules(REJECT, oci={str(tmp_path): ACCEPT}))


def test_an_archive_has_a_transport_of_its_own(store, tmp_path, rules):
    archive = images.write_oci_archive(tmp_path / "app.tar", PICTURE)
    with pytest.raises(RejectedError):
        bring(store, archive, rules(REJECT, oci={"": ACCEPT}))
    bring(store, archive, rules(REJECT, oci_archive={str(archive): ACCEPT}))


def test_a_docker_archive_can_only_be_accepted_without_signatures(store, tmp_path, rules):
    archive = images.write_docker_archive(tmp_path / "app.tar", PICTURE)
    for default in (REJECT, signed_by()):
        with pytest.raises(RejectedError, match="docker-archive"):
            bring(store, archive, rules(default))
    bring(store, archive, rules(REJECT, docker_archive={"": ACCEPT}))


def test_a_signature_in_a_dir(store, tmp_path, rules):
    directory = images.write_dir(tmp_path / "dir", PICTURE)
    from arstore.digest import Digest
    from arstore.trust.dir_file import write_file
    from arstore.trust.signing.sign import sign_image

    with pytest.raises(RejectedError):
        bring(store, directory, rules(signed_by()))
    made = sign_image(KEY, Digest(PICTURE.digest), REFERENCE)
    (directory / "signature-1").write_bytes(write_file(made))
    bring(store, directory, rules(signed_by()))


def test_a_registry_is_asked_for_signatures_only_when_they_are_needed(store, server, connect, rules):
    server.put_image("team/app", "1", PICTURE)
    name = f"{server.host}/team/app"

    def pull(chosen):
        reference = DockerReference.parse(f"{name}:1")
        options = ImportOptions(rules=chosen)
        return import_opened(store, lambda _: RegistrySource(reference, connect.access()), options)

    pull(rules(REJECT, docker={name: ACCEPT}))
    assert not server.asked(pattern="referrers")
    assert not server.asked(pattern="sha256-")
    identity = {"type": "matchRepository"}
    asking = {"docker": {name: [signing.sigstore(KEY, **identity)]}}
    with pytest.raises(RejectedError):
        pull(rules(REJECT, **asking))
    attachments.put(server, "team/app", signing.signature(KEY, PICTURE.digest, f"{name}:1"))
    pull(rules(REJECT, **asking))
    with store.graph.read() as snapshot:
        assert len(snapshot.attachments_of(PICTURE.digest)) == 1


def test_verdicts_are_kept_and_follow_the_policy(store, layout, rules):
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    bring(store, layout, rules(signed_by()))
    image = store.find("app:1")
    require_admitted(store, image, rules(signed_by()))
    # Another policy: it judges the signature in the store.
    require_admitted(store, image, rules(signed_by(), oci={"": signed_by()}))
    with pytest.raises(RejectedError):
        require_admitted(store, image, rules(signed_by(OTHER)))
    with pytest.raises(RejectedError):
        require_admitted(store, image, rules(REJECT))
    # A scope of the store comes before the place that the image came from.
    require_admitted(store, image, rules(REJECT, store={"": ACCEPT}))
    with pytest.raises(RejectedError):
        require_admitted(store, image, rules(ACCEPT, store={"docker.io/library/app": REJECT}))


def test_a_kept_verdict_needs_no_signature(store, layout, rules, tmp_path):
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    bring(store, layout, rules(signed_by()))
    with store.graph.read() as snapshot:
        ((digest, _),) = snapshot.attachments_of(PICTURE.digest)
    (tmp_path / "root" / "blobs" / digest.replace(":", "/")).unlink()
    require_admitted(store, store.find("app:1"), rules(signed_by()))
    with pytest.raises(RejectedError):
        require_admitted(store, store.find("app:1"), rules(signed_by(), dir={"": ACCEPT}))


def test_an_image_without_an_origin_is_judged_by_its_name(store, layout, rules):
    bring(store, layout, None)
    with pytest.raises(RejectedError):
        require_admitted(store, store.find("app:1"), rules(REJECT))
    require_admitted(store, store.find("app:1"), rules(REJECT, store={"docker.io/library/app": ACCEPT}))


def test_signatures_are_required_on_demand(store, layout, rules):
    with pytest.raises(RejectedError, match="signatures are required"):
        bring(store, layout, rules(ACCEPT, require=True))
    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    bring(store, layout, rules(signed_by(), require=True))
    require_admitted(store, store.find("app:1"), rules(signed_by(), require=True))


def test_a_bad_policy_stops_everything_before_the_source_is_read(store, tmp_path, rules):
    chosen = rules(ACCEPT)
    (tmp_path / "policy.json").write_text('{"default": []}')
    (tmp_path / "bad.tar").write_bytes(b"no image")
    layout = images.write_layout(tmp_path / "layout", PICTURE)
    with pytest.raises(PolicyError):
        bring(store, layout, Rules(str(tmp_path / "policy.json")))
    assert chosen is not None


def test_without_any_file_everything_is_accepted_and_that_is_said_once(store, layout, tmp_path, monkeypatch):
    monkeypatch.setattr("arstore.trust.policy_file.SYSTEM", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path))
    said = []
    chosen = Rules(tell=said.append)
    bring(store, layout, chosen)
    require_admitted(store, store.find("app:1"), chosen)
    assert len(said) == 1
    with pytest.raises(RejectedError, match="no policy"):
        bring(store, layout, Rules(require_signatures=True))


def test_bad_signatures_are_tried_up_to_a_bound(store, layout, rules, monkeypatch):
    monkeypatch.setattr("arstore.transport.admission.gate._MOST_ATTEMPTS", 3)
    for number in range(4):
        made = signing.signature(OTHER, PICTURE.digest, f"{REFERENCE}{number}")
        attachments.add_to_layout(layout, made)
    with pytest.raises(LimitError, match="3 invalid signatures"):
        bring(store, layout, rules(signed_by()))


def test_a_copy_asks_too(layout, tmp_path, rules):
    from arstore.transport.export.copying import export_reference
    from arstore.transport.export.options import ExportOptions
    from arstore.transport.sinks.destination import parse_destination

    def copy(chosen):
        target = parse_destination(f"oci-archive:{tmp_path}/out.tar")
        return export_reference(str(layout), target, Wanted(), ExportOptions(), rules=chosen)

    with pytest.raises(RejectedError):
        copy(rules(REJECT))
    assert not (tmp_path / "out.tar").exists()
    copy(rules(ACCEPT))
    assert (tmp_path / "out.tar").exists()
    shutil.rmtree(layout)


def test_a_copy_from_the_store_asks_by_the_verdict_that_is_kept(store, layout, tmp_path, rules):
    from arstore.transport.export.copying import export_stored
    from arstore.transport.export.options import ExportOptions
    from arstore.transport.sinks.destination import parse_destination

    attachments.add_to_layout(layout, signing.signature(KEY, PICTURE.digest))
    bring(store, layout, rules(signed_by()))
    target = parse_destination(f"oci-archive:{tmp_path}/out.tar")
    export_stored(store, ["app:1"], target, Wanted(), ExportOptions(), rules=rules(signed_by()))
    with pytest.raises(RejectedError):
        export_stored(store, ["app:1"], target, Wanted(), ExportOptions(), rules=rules(signed_by(OTHER)))
