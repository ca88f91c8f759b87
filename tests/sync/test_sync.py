"""`sync` between registries, directories and the store: what is copied, kept, refused and deleted."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from support import attachments, dockerregistry, images, peers, registry, stores

from arstore.errors import ConflictError
from arstore.registry.access import RegistryOptions
from arstore.registry.http.patience import Patience
from arstore.sync.place import How
from arstore.sync.registries import Registries, wishes_in_registry
from arstore.sync.registry_place import RegistryPlace
from arstore.sync.run import COPY, CURRENT, FAILED, SKIPPED, Sync
from arstore.sync.yaml_file import wishes_of
from arstore.tar.limits import DEFAULT_LIMITS
from arstore.transport.export.options import ExportOptions
from arstore.transport.selection.selector import Wanted
from arstore.trust.rules import Rules

INSECURE = "--tls-verify=false"
OPTIONS = RegistryOptions(tls_verify=False, patience=Patience(tries=2, first=0.01))
HOW = How(Wanted(), ExportOptions(), Rules())
SIGNATURE = f"sha256-{'a' * 64}.sig"


def picture(text):
    """A small image, different for each text."""
    return stores.simple(text, compression="gzip")


def lines(outcome):
    return sorted(tuple(line.split()[i] for i in (0, -1)) for line in outcome.text.splitlines())


def sync(arstore, *words):
    return arstore.ok("-q", "sync", INSECURE, *words)


def previewed(found, place):
    outcomes = []
    one = Sync(found, place, HOW, outcomes.append)
    one.preview(one.plan())
    return outcomes


# --- registry to registry -------------------------------------------------------------------------------------------


def test_all_tags_go_to_another_registry_and_nothing_is_pulled_again(arstore, server, other):
    server.put_image("team/app", SIGNATURE, picture("a signature"))
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}/mirror")
    targets = [f"docker://{other.host}/mirror/app:{tag}" for tag in "123"]
    assert lines(sync(arstore, *words, "-n")) == [("copy", target) for target in targets]
    assert other.tags.get("mirror/app", {}) == {}
    assert lines(sync(arstore, *words)) == [("copied", target) for target in targets]
    assert other.tags["mirror/app"] == {tag: server.tags["team/app"][tag] for tag in "123"}
    before = len(server.log), len(other.log)
    assert lines(sync(arstore, *words)) == [("current", target) for target in targets]
    asked = [*server.log[before[0] :], *other.log[before[1] :]]
    assert {one.method for one in asked if "tags/list" not in one.path and one.path != "/v2/"} == {"HEAD"}


def test_only_what_is_new_moves(arstore, server, other):
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}")
    sync(arstore, *words)
    server.put_image("team/app", "2", picture("another"))
    server.put_image("team/app", "4", picture("1"))
    before = len(other.log)
    done = dict(reversed(one) for one in lines(sync(arstore, *words)))
    assert [done[f"docker://{other.host}/app:{tag}"] for tag in "1234"] == ["current", "copied", "current", "copied"]
    sent = [one for one in other.log[before:] if one.method in {"POST", "PUT", "PATCH"} and "/blobs/" in one.path]
    assert len({one.path.rpartition("digest=")[2] for one in sent if "digest=" in one.path}) <= 2


def test_pages_of_tags_are_all_read(arstore, server, other):
    server.page = 2
    assert len(lines(sync(arstore, f"docker://{server.host}/team/app", f"docker://{other.host}"))) == 3


def test_an_index_goes_whole_or_as_its_image(arstore, server, other, multi):
    words = (f"docker://{server.host}/team/multi", f"docker://{other.host}")
    sync(arstore, *words, "--platform", "linux/amd64")
    assert other.tags["multi"]["1"] == multi.parts[0].digest
    again = sync(arstore, *words, "--platform", "linux/amd64")
    assert lines(again) == [("current", f"docker://{other.host}/multi:1")]
    sync(arstore, *words, "--all-platforms")
    assert other.tags["multi"]["1"] == multi.digest
    before = len(other.log)
    sync(arstore, *words, "--all-platforms")
    assert [one.method for one in other.log[before:] if "manifests" in one.path] == ["HEAD"]


def test_one_bad_tag_does_not_end_it(arstore, server, other):
    server.fault("GET", "/manifests/2", times=100, status=404, body=b"{}")
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}")
    done = arstore.run("-q", "sync", INSECURE, "--json", *words)
    assert done.status == 28
    assert [one["source"].rpartition(":")[2] for one in done.json["copied"]] == ["1", "3"]
    (failed,) = done.json["failed"]
    assert failed["source"] == f"docker://{server.host}/team/app:2"
    assert json.loads(done.err.splitlines()[-1])["error"]["kind"] == "SyncFailed"
    server.faults.clear()
    assert lines(sync(arstore, *words))[0] == ("copied", f"docker://{other.host}/app:2")


def test_fail_fast_stops(arstore, server, other):
    server.fault("GET", "/manifests/1", times=100, status=404, body=b"{}")
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}", "--fail-fast", "--prune")
    assert arstore.run("-q", "sync", INSECURE, *words).status == 28
    assert other.tags.get("app", {}) == {}


def test_what_is_no_image_is_passed_over_unless_it_was_asked_for(arstore, server, other):
    config = server.put_blob("team/app", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": images.OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2},
        "layers": [],
    }
    server.put_manifest("team/app", images.dump(document), images.OCI_MANIFEST, "chart")
    done = arstore.ok("sync", INSECURE, f"docker://{server.host}/team/app", f"docker://{other.host}")
    assert "skipped" in done.err
    assert len(lines(done)) == 3
    chart = f"docker://{server.host}/team/app:chart"
    assert arstore.run("sync", INSECURE, chart, f"docker://{other.host}").status == 28


def test_a_run_that_was_killed_is_given_again(arstore, server, other):
    for tag in range(20):
        server.put_image("team/many", str(tag), picture(f"many {tag}"))
    words = ("-q", "sync", INSECURE, f"docker://{server.host}/team/many", f"docker://{other.host}")
    process = arstore.start(*words)
    while len(other.tags.get("many", {})) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = len(other.tags["many"])
    done = lines(arstore.ok(*words))
    assert len(done) == 20
    assert sum(what == "current" for what, _ in done) >= there


# --- deleting -------------------------------------------------------------------------------------------------------


def test_prune_deletes_what_the_source_no_longer_has(arstore, server, other):
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}/mirror", "--prune")
    sync(arstore, *words)
    other.put_image("mirror/app", SIGNATURE, picture("a signature"))
    other.put_image("mirror/other", "1", picture("not ours"))
    del server.tags["team/app"]["2"]
    gone = ("delete", f"docker://{other.host}/mirror/app:2")
    assert gone in lines(sync(arstore, *words, "-n"))
    assert "2" in other.tags["mirror/app"]
    assert ("deleted", gone[1]) in lines(sync(arstore, *words))
    assert set(other.tags["mirror/app"]) == {"1", "3", SIGNATURE}
    assert set(other.tags["mirror/other"]) == {"1"}


def test_prune_deletes_nothing_when_the_source_says_nothing(arstore, server, other):
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}/mirror", "--prune")
    sync(arstore, *words)
    server.fault("GET", "tags/list", times=100, status=403, body=b"{}")
    assert arstore.run("sync", INSECURE, *words).status == 28
    server.faults.clear()
    server.tags["team/app"].clear()
    done = arstore.ok("sync", INSECURE, *words)
    assert "the source has no tags at all" in done.err
    assert set(other.tags["mirror/app"]) == set("123")


def test_a_tag_of_an_image_that_stays_is_not_deleted_with_its_manifest(arstore, server, other):
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}/mirror", "--prune")
    sync(arstore, *words)
    other.tags["mirror/app"]["old"] = other.tags["mirror/app"]["1"]
    # docker-registry works like this: manifests are deleted by their digest only.
    other.fault("DELETE", "/manifests/old", times=9, before=True, status=405, body=b"{}")
    done = arstore.run("sync", INSECURE, *words)
    assert done.status == 28
    assert "refers to an image that 1 needs" in done.err
    assert set(other.tags["mirror/app"]) == {"1", "2", "3", "old"}


def test_an_image_that_an_index_lists_is_not_deleted_with_its_tag(arstore, server, other, multi):
    words = (f"docker://{server.host}/team/multi", f"docker://{other.host}", "--all-platforms", "--prune")
    sync(arstore, *words)
    other.tags["multi"]["1-amd64"] = multi.parts[0].digest
    other.put_image("multi", "gone", picture("gone"))
    other.fault("DELETE", "/manifests/(1-amd64|gone)", times=9, before=True, status=405, body=b"{}")
    done = arstore.run("sync", INSECURE, *words)
    assert done.status == 28
    assert "refers to an image that 1 needs" in done.err
    assert set(other.tags["multi"]) == {"1", "1-amd64"}


def test_prune_of_listed_tags_keeps_what_the_source_has(arstore, server, other):
    sync(arstore, f"docker://{server.host}/team/app", f"docker://{other.host}")
    other.put_image("app", "9", picture("nine"))
    sync(arstore, f"docker://{server.host}/team/app:1", f"docker://{other.host}", "--prune")
    assert set(other.tags["app"]) == set("123")


# --- directories and the store --------------------------------------------------------------------------------------


def test_through_a_tree_of_directories(arstore, server, other, multi, places):
    tree = places / "tree"
    words = (f"docker://{server.host}/team/app", f"dir:{tree}", "--prune")
    assert len(lines(sync(arstore, *words))) == 3
    sync(arstore, f"docker://{server.host}/team/multi", f"dir:{tree}", "--all-platforms")
    assert {one.name for one in tree.iterdir()} == {"app:1", "app:2", "app:3", "multi:1"}
    del server.tags["team/app"]["2"]
    (tree / "app:nothing").mkdir()
    assert {what for what, _ in lines(sync(arstore, *words))} == {"current", "deleted"}
    assert {one.name for one in tree.iterdir()} == {"app:1", "app:3", "app:nothing", "multi:1"}
    sync(arstore, tree, f"docker://{other.host}/back", "--all-platforms")
    assert other.tags["back/multi"] == {"1": multi.digest}
    assert other.tags["back/app"] == server.tags["team/app"]


def test_scoped_trees_keep_whole_names(arstore, server, other, places):
    tree = places / "tree"
    sync(arstore, f"docker://{server.host}/team/app:1", f"dir:{tree}", "--scoped")
    assert (tree / server.host / "team" / "app:1" / "manifest.json").is_file()
    sync(arstore, f"dir:{tree}", f"docker://{other.host}/x")
    assert set(other.tags["x/team/app"]) == {"1"}
    failed = arstore.run("sync", INSECURE, f"dir:{tree}", f"docker://{other.host}/x", "--scoped")
    assert failed.status == 28
    assert "port of a registry" in failed.err


def test_through_a_layout(arstore, server, other, multi, places):
    layout = places / "layout"
    for name in ("app", "multi"):
        sync(arstore, f"docker://{server.host}/team/{name}", f"oci:{layout}", "--all-platforms")
    del server.tags["team/app"]["3"]
    done = sync(arstore, f"docker://{server.host}/team/app", f"oci:{layout}", "--prune")
    assert {what for what, _ in lines(done)} == {"current", "deleted"}
    sync(arstore, layout, f"docker://{other.host}", "--all-platforms")
    assert other.tags["app"] == server.tags["team/app"]
    assert other.tags["multi"] == {"1": multi.digest}


def test_into_the_store(arstore, server, multi):
    words = (f"docker://{server.host}/team/app", "store:")
    names = [f"{server.host}/team/app:{tag}" for tag in "123"]
    assert lines(sync(arstore, *words)) == [("copied", f"store:{name}") for name in names]
    assert lines(sync(arstore, *words)) == [("current", f"store:{name}") for name in names]
    del server.tags["team/app"]["1"]
    sync(arstore, *words, "--prune")
    sync(arstore, f"docker://{server.host}/team/multi", "store:mine", "--all-platforms")
    listed = {name for image in arstore.json("images") for name in image["names"]}
    assert listed == {*names[1:], "mine/multi:1"}
    assert arstore.run("check").status == 0


def test_a_directory_that_is_more_than_an_image_is_not_deleted(arstore, server, places):
    words = (f"docker://{server.host}/team/app", f"dir:{places / 'tree'}", "--prune")
    sync(arstore, *words)
    (places / "tree/app:2/mine").write_text("keep")
    del server.tags["team/app"]["2"]
    assert arstore.run("sync", INSECURE, *words).status == 28
    assert (places / "tree/app:2/mine").is_file()


def test_odd_things_in_a_tree(arstore, server, other, places):
    tree = places / "tree"
    sync(arstore, f"docker://{server.host}/team/app:1", f"dir:{tree}")
    (tree / "link").symlink_to(tree / "app:1")
    (tree / "waiting:1").mkdir()
    (tree / "waiting:1/version").touch()
    os.mkfifo(tree / "waiting:1/manifest.json")
    for name in ("Upper:1", "no-tag", f"app:{SIGNATURE}"):
        images.write_dir(tree / name, picture(name))
    done = arstore.run("sync", INSECURE, "--json", tree, f"docker://{other.host}")
    assert done.status == 28
    assert (len(done.json["copied"]), len(done.json["failed"])) == (1, 3)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_two_images_for_one_place_are_refused(server, other):
    server.put_image("other/app", "1", picture("other"))
    source = Registries(
        [wish for name in ("team", "other") for wish in wishes_in_registry(f"{server.host}/{name}/app", OPTIONS)],
        DEFAULT_LIMITS,
    )
    place = RegistryPlace(other.host, OPTIONS, scoped=False)
    with pytest.raises(ConflictError, match="--scoped"):
        Sync(source.find(), place, HOW, print).plan()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("nothing", "dir:x"), "Usage"),
        (("docker://r.example/a", "nothing"), "Usage"),
        (("docker://team/", "dir:x"), "Usage"),
        (("docker://R@", "dir:x"), "InvalidReference"),
        (("docker://localhost/a", "docker://a"), "Usage"),
        (("docker://localhost/a", "docker://localhost/a:1"), "InvalidReference"),
        (("dir:/nonexistent", "docker://localhost"), "NotFound"),
        (("dir:", "docker://localhost"), "Usage"),
        (("docker://localhost/a", "store:", "--format", "oci"), "Conversion"),
        (("docker://localhost/a", "store:x.io/a:1"), "InvalidReference"),
        (("docker://localhost/a", "oci:x:name"), "Usage"),
        (("oci:x:name", "dir:x"), "Usage"),
        (("docker://localhost/a", "dir:x", "--platform", "linux/arm", "--all-platforms"), "Usage"),
    ],
)
def test_wrong_words(arstore, words, kind):
    arstore.fails(kind, "sync", *words)


def test_no_place_in_a_store(arstore, server, places):
    stores.made(arstore.root, arstore.runroot).close()
    arstore.fails("Conflict", "sync", INSECURE, f"docker://{server.host}/team/app", f"dir:{arstore.root}/blobs")


# --- a YAML file ----------------------------------------------------------------------------------------------------


def test_a_yaml_file_and_a_registry_that_is_not_there(server, other):
    pytest.importorskip("yaml")
    text = f"""
{server.host}:
  images: {{team/app: ["1", missing]}}
  images-by-semver: {{team/app: ">= 3"}}
localhost:9:
  images: {{a: [], b: [], c: [], d: []}}
"""
    source = Registries(wishes_of(text.encode(), "x.yaml", OPTIONS), DEFAULT_LIMITS)
    found = source.find()
    assert "was not tried" in str(found.faults[3].error)
    outcomes = previewed(found, RegistryPlace(other.host, OPTIONS, scoped=False))
    assert [one.what for one in outcomes] == [FAILED] * 4 + [COPY] * 3
    assert [one.destination.rpartition(":")[2] for one in outcomes[4:]] == ["1", "missing", "3"]


def test_credentials_of_the_file_go_to_their_registry_alone(server, other):
    pytest.importorskip("yaml")
    server.auth = registry.Auth(users={"john": "secret"})
    text = f"{server.host}: {{images: {{team/app: []}}, credentials: {{username: john, password: secret}}}}"
    found = Registries(wishes_of(text.encode(), "x.yaml", OPTIONS), DEFAULT_LIMITS).find()
    assert (len(found.items), found.faults) == (3, [])
    previewed(found, RegistryPlace(other.host, OPTIONS, scoped=False))
    assert {one.authorization for one in other.log} == {""}


def test_each_side_has_its_credentials(arstore, server, other):
    server.auth = registry.Auth(users={"reader": "r"})
    other.auth = registry.Auth(users={"writer": "w"}, tokens=True)
    words = (f"docker://{server.host}/team/app", f"docker://{other.host}", "--src-creds", "reader:r")
    assert arstore.run("sync", INSECURE, *words).status == 28
    sync(arstore, *words, "--dest-creds", "writer:w")
    assert set(other.tags["app"]) == set("123")
    readers = {one.authorization for one in server.log} - {""}
    assert readers.isdisjoint(one.authorization for one in other.log)


def test_what_is_there_is_current_by_a_look(server, other):
    other.put_image("app", "1", picture("1"))
    source = Registries(wishes_in_registry(f"{server.host}/team/app", OPTIONS), DEFAULT_LIMITS)
    outcomes = previewed(source.find(), RegistryPlace(other.host, OPTIONS, scoped=False))
    assert [one.what for one in outcomes] == [CURRENT, COPY, COPY]
    assert SKIPPED not in {one.what for one in outcomes}


# --- a real registry, and skopeo ------------------------------------------------------------------------------------


@pytest.mark.tools("docker-registry")
def test_a_namespace_of_a_real_registry(arstore, server, multi, places):
    with dockerregistry.served(places) as host:
        for name in ("app", "multi"):
            sync(arstore, f"docker://{server.host}/team/{name}", f"docker://{host}/deep/er", "--all-platforms")
        sync(arstore, f"docker://{host}/deep/er/app:1", f"docker://{host}/elsewhere")
        done = sync(arstore, f"docker://{host}/deep/", f"dir:{places / 'tree'}", "--all-platforms")
        assert [what for what, _ in lines(done)] == ["copied"] * 4
        assert len(lines(sync(arstore, f"docker://{host}", f"oci:{places / 'all'}", "--all-platforms"))) == 5
        del server.tags["team/app"]["3"]
        done = sync(arstore, f"docker://{server.host}/team/app", f"docker://{host}/deep/er", "--prune")
        assert ("deleted", f"docker://{host}/deep/er/app:3") in lines(done)


@pytest.mark.tools("skopeo")
def test_skopeo_and_we_read_each_others_trees(arstore, server, multi, places):
    ours, theirs = places / "ours", places / "theirs"
    for name in ("app", "multi"):
        sync(arstore, f"docker://{server.host}/team/{name}", f"dir:{ours}", "--scoped", "--all-platforms")
        words = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", "--scoped", "--all"]
        peers.run("skopeo", "sync", *words, f"{server.host}/team/{name}", str(theirs))
        done = sync(arstore, f"docker://{server.host}/team/{name}", f"dir:{theirs}", "--scoped", "--all-platforms")
        assert {what for what, _ in lines(done)} == {"current"}
    assert sorted(one.relative_to(ours) for one in ours.rglob("*")) == sorted(
        one.relative_to(theirs) for one in theirs.rglob("*")
    )


# --- an index that was made here ------------------------------------------------------------------------------------


def test_an_index_of_local_images_is_pushed_whole(arstore, other, places):
    path = places / "root.tar"
    path.write_bytes(images.tar([images.file("x", b"x")]))
    for platform in ("amd64", "arm64"):
        arstore.ok("import", "--rootfs", path, f"{platform}:1", "--platform", f"linux/{platform}")
    digest = arstore.ok("index", "create", "--json", "app:1", "amd64:1", "arm64:1").json["digest"]
    arstore.ok("index", "push", INSECURE, "app:1", f"docker://{other.host}/team/app:1")
    assert other.tags["team/app"] == {"1": digest}
    listed = json.loads(other.manifests["team/app"][digest][1])["manifests"]
    assert {one["digest"] for one in listed} < set(other.manifests["team/app"])
    puts = [one.path.rpartition("/")[2] for one in other.log if one.method == "PUT" and "/manifests/" in one.path]
    assert puts[-1] == "1"


# --- attachments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["registry", "oci", "dir", "store"])
def test_attachments_come_along_when_asked(arstore, server, other, places, target):
    picture = stores.simple("1", compression="gzip")
    signed = attachments.signature(picture.digest, "first")
    listed = attachments.sbom(picture.descriptor())
    place = {
        "registry": f"docker://{other.host}/m",
        "oci": f"oci:{places / 'out'}",
        "dir": f"dir:{places / 'out'}",
        "store": "store:",
    }[target]
    (places / "out").mkdir()

    def found():
        if target == "registry":
            return set(other.manifests.get("m/app", {}))
        if target == "oci":
            return set(attachments.listed(places / "out")) if (places / "out/index.json").exists() else set()
        if target == "dir":
            return {path.name for path in (places / "out").rglob("signature-*")}
        done = arstore.json("referrers", f"store:{server.host}/team/app:1")
        return {one["digest"] for one in done["referrers"]}

    words = ("--tls-verify=false", f"docker://{server.host}/team/app:1", place)
    arstore.ok("sync", *words)
    attachments.put(server, "team/app", signed)
    attachments.put(server, "team/app", listed)
    before = found()
    arstore.ok("sync", *words)
    assert found() == before
    done = arstore.ok("sync", "--referrers", *words)
    assert done.text.startswith("current ")
    new = {"signature-1"} if target == "dir" else {signed.digest, listed.digest}
    assert found() - before == new
