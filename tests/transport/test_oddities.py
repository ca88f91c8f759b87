"""Archives written by other tools: the selected images and their names, and the reports about the rest."""

from __future__ import annotations

import pytest
from support import images, oddities
from support.oddities import HOST, OTHER, THIRD

from arstore.cli.images.skipped import skipped_lines
from arstore.errors import (
    AmbiguousError,
    ArstoreError,
    DigestMismatchError,
    ManifestError,
    MissingBlobError,
    PlatformError,
)
from arstore.oci.platform import parse
from arstore.transport.detect import open_source
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.skipped import MOST, SkippedTop

HERE, THERE, AFAR = (oddities.picture(architecture) for architecture in (HOST, OTHER, THIRD))
MODES = {"default": Wanted(), "platform": Wanted(parse(f"linux/{HOST}")), "all": Wanted(every=True)}
KINDS = sorted(oddities.OTHERS)
LISTED = "index-of-nothing", "index-of-charts", "index-with-artifact-type"


class Found:
    """The selection from the archive *name*, by digests."""

    def __init__(self, path, spool, wanted, reference="{}"):
        self.skipped = SkippedTop()
        with open_source(reference.format(path), spool) as source:
            selection = Selector(source, wanted, skipped=self.skipped).select()
        self.images = {one.digest: one.names for one in selection.images.values()}
        self.indexes = {one.digest: one.names for one in selection.indexes.values()}
        self.selection = selection
        self.whys = [one.why for one in self.skipped.entries]


@pytest.fixture
def select(tmp_path, spool):
    def made(name, wanted=MODES["default"], reference="{}", files=None):
        path = images.write_archive(tmp_path / "archive", files or oddities.ARCHIVES[name]())
        return Found(path, spool, wanted, reference)

    return made


# --- entries that are not images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_image_is_skipped_beside_one(select, kind, mode, named):
    found = select(f"beside-named-{kind}" if named else f"beside-{kind}", MODES[mode])
    assert found.images == {HERE.digest: ("app:v1",)}
    assert found.indexes == {}
    if kind.startswith("referrer"):
        # It belongs to the image, and is copied with it.
        assert [one.subject for one in found.selection.attachments] == [HERE.digest]
        return
    assert found.skipped.count == 1
    (entry,) = found.skipped.entries
    assert entry.name == ("site/thing:1" if named else "")
    assert entry.why.startswith("an index that lists" if kind in LISTED else "not an image, but ")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_image_is_skipped_in_an_index(select, kind, mode):
    found = select(f"within-{kind}", MODES[mode])
    if mode == "all":
        assert list(found.images) == [HERE.digest, THERE.digest]
        (index,) = found.selection.indexes.values()
        assert (index.names, index.manifests) == (("app:v1",), (HERE.digest, THERE.digest))
        assert found.skipped.count == 1
    else:
        assert found.images == {HERE.digest: ("app:v1",)}
        assert found.skipped.count == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_nothing_else_says_what_it_has(select, kind, mode):
    with pytest.raises(ManifestError, match=r"contains no container image: .* is (not an image, but|an index that)"):
        select(f"alone-{kind}", MODES[mode])


def test_an_image_is_named_after_the_file_whatever_lies_beside_it(select):
    other, blobs = oddities.chart()
    found = select("", files=oddities.layout([other, oddities.entry(HERE)], HERE, blobs=blobs))
    assert found.images == {HERE.digest: ("archive:latest",)}
    assert found.skipped.entries[0].name == ""


def test_a_signature_may_have_the_images_name(select):
    found = select("cosign-save")
    assert found.images == {HERE.digest: ("site/app:v1",)}
    assert [one.subject for one in found.selection.attachments] == [HERE.digest]


@pytest.mark.parametrize("damage", ["bad manifest", "bad config", "no manifest", "no config", "empty manifest"])
@pytest.mark.parametrize("mode", MODES)
def test_a_broken_image_is_never_skipped(select, damage, mode):
    digest = HERE.config_digest if damage.endswith("config") else HERE.digest
    other = oddities.picture(text="other")
    files = oddities.layout([oddities.entry(other, "a:1"), oddities.entry(HERE, "b:1")], other, HERE, omit=[digest])
    if not damage.startswith("no"):
        files.append(images.file(oddities.blob_path(digest), b"" if damage.startswith("empty") else b"{}"))
    with pytest.raises(ArstoreError, match=digest):
        select("", MODES[mode], files=files)


def test_an_image_with_one_layer_of_another_type_is_an_error(select):
    def edit(document):
        document["layers"].append(oddities.thing(b"model", "application/vnd.example.model"))

    one = images.image(
        images.layer([images.file("a")]),
        edit_manifest=edit,
        edit_config=lambda c: c["rootfs"]["diff_ids"].append(images.sha256(b"model")),
    )
    with pytest.raises(ManifestError, match=r"layer of the unknown type application/vnd\.example\.model"):
        select("", files=oddities.layout([oddities.entry(one, "a:1")], one, blobs=[b"model"]))


@pytest.mark.parametrize("config_type", ["", "application/octet-stream", "application/json", "text/html"])
def test_config_types_of_early_registries(select, config_type):
    one = oddities.picture(edit_manifest=lambda document: document["config"].update(mediaType=config_type))
    assert list(select("", files=oddities.layout([oddities.entry(one, "a:1")], one)).images) == [one.digest]


def test_the_report_is_bounded(select):
    entries = [oddities.thing(str(n).encode(), f"application/x{n}") for n in range(9000)]
    found = select("", files=oddities.layout([*entries, oddities.entry(HERE, "a:1")], HERE))
    assert (found.skipped.count, len(found.skipped.entries)) == (9000, MOST)
    assert skipped_lines(found.skipped.entries, found.skipped.count)[-1] == "skipped 8995 more entries"
    assert len(skipped_lines(found.skipped.entries, found.skipped.count)) == 6


def test_entries_that_are_no_image_do_not_count_as_images(select):
    entries = [oddities.thing(str(n).encode(), "application/xml") for n in range(5000)]
    found = select("", files=oddities.layout([*entries, oddities.entry(HERE, "a:1")], HERE))
    (line, _) = skipped_lines(found.skipped.entries, found.skipped.count)
    assert line.endswith(f" and {MOST - 3} more: not an image, but application/xml")


# --- names and platforms --------------------------------------------------------------------------------------------

TWO = [
    "name-two-platforms", "name-two-platforms-reversed", "name-platforms-unsaid", "name-three-platforms",
    "name-platforms-containerd", "name-platforms-tag", "name-two-spellings", "docker-tag-two-platforms",
]  # fmt: skip
NAMES = {"name-platforms-containerd": "docker.io/library/app:v1", "name-platforms-tag": "archive:v1"}
NAMES["name-two-spellings"] = NAMES["name-platforms-containerd"]


def platforms_of(found):
    return {one.platform: one.names for one in found.selection.images.values()}


@pytest.mark.parametrize("name", TWO)
def test_equal_names_of_several_platforms_give_the_hosts_image(select, name):
    found = select(name)
    called = NAMES.get(name, "app:v1")
    assert platforms_of(found) == {f"linux/{HOST}": (called,)}
    assert all(entry.name == called and "not for" in entry.why for entry in found.skipped.entries)
    assert found.skipped.count == (2 if "three" in name else 1)


@pytest.mark.parametrize("name", TWO)
def test_equal_names_of_several_platforms_give_the_one_asked_for(select, name):
    found = select(name, Wanted(parse(f"linux/{OTHER}")))
    assert platforms_of(found) == {f"linux/{OTHER}": (NAMES.get(name, "app:v1"),)}
    with pytest.raises(PlatformError, match=f"it has linux/.*linux/{OTHER}"):
        select(name, Wanted(parse("linux/ppc64le")))


@pytest.mark.parametrize("name", TWO)
def test_all_of_equal_names_are_an_index_of_that_name(select, name):
    found = select(name, MODES["all"])
    assert set(platforms_of(found)) >= {f"linux/{HOST}", f"linux/{OTHER}"}
    assert not any(found.images.values())
    (index,) = found.selection.indexes.values()
    assert index.names == (NAMES.get(name, "app:v1"),)
    assert index.manifests == tuple(found.images)
    assert index.digest == images.sha256(index.document)
    assert select(name, MODES["all"]).indexes == found.indexes
    assert found.skipped.count == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name",
    ["name-one-platform-twice", "name-one-platform-twice-unsaid", "docker-tag-one-platform", "name-index-and-other"],
)
def test_two_images_of_one_name_and_platform_are_ambiguous(select, name, mode):
    with pytest.raises(
        AmbiguousError, match=f"has 2 images for linux/{HOST} with the name app:v1: sha256:.* and sha256:"
    ):
        select(name, MODES[mode])


def test_one_of_two_ambiguous_images_is_chosen_by_its_digest(select):
    one = oddities.picture(text="1")
    found = select("name-one-platform-twice", reference=f"oci-archive:{{}}@{one.digest}")
    assert found.images == {one.digest: ("app:v1",)}
    assert len(select("docker-tag-one-platform", reference="docker-archive:{}:@1").images) == 1


def test_ambiguity_among_what_is_not_wanted_is_none(select):
    parts = [HERE, oddities.picture(OTHER, "1"), oddities.picture(OTHER, "2")]
    files = oddities.layout([oddities.entry(one, "app:v1") for one in parts], *parts)
    assert select("", files=files).images == {HERE.digest: ("app:v1",)}
    for wanted in (Wanted(parse(f"linux/{OTHER}")), MODES["all"]):
        with pytest.raises(AmbiguousError):
            select("", wanted, files=files)


def test_a_variant_is_chosen_as_from_an_index(select):
    assert platforms_of(select("name-variants", Wanted(parse("linux/arm/v7")))) == {"linux/arm/v7": ("app:v1",)}
    found = select("name-variants", Wanted(parse("linux/arm/v6")))
    assert platforms_of(found) == {"linux/arm/v6": ("app:v1",)}
    assert found.whys == [f"for linux/arm/{v}, not for linux/arm/v6" for v in ("v5", "v7")]
    with pytest.raises(AmbiguousError, match="linux/arm64"):
        select("name-spelt-alike", Wanted(parse("linux/arm64")))


def test_one_image_listed_twice_is_one(select):
    for wanted in MODES.values():
        assert select("name-one-image-twice", wanted).images == {HERE.digest: ("app:v1",)}


def test_one_image_listed_for_two_platforms_suits_both(select):
    there = oddities.entry(HERE, "app:v1", platform={"os": "linux", "architecture": OTHER})
    files = oddities.layout([there, oddities.entry(HERE, "app:v1")], HERE)
    for wanted in (*MODES.values(), Wanted(parse(f"linux/{OTHER}"))):
        assert select("", wanted, files=files).images == {HERE.digest: ("app:v1",)}


def test_names_that_overlap(select):
    assert select("names-overlap").images == {HERE.digest: ("app:v2", "app:v1")}
    found = select("names-overlap", MODES["all"])
    assert found.images == {HERE.digest: ("app:v2",), THERE.digest: ()}
    assert list(found.indexes.values()) == [("app:v1",)]


def test_an_index_and_its_own_member_under_one_name(select):
    assert select("name-index-and-member").images == {HERE.digest: ("app:v1",)}
    found = select("name-index-and-member", MODES["all"])
    assert found.indexes == {images.index(HERE, THERE).digest: ("app:v1",)}


def test_a_name_chooses_all_of_its_platforms(select):
    for reference in ("oci-archive:{}:app:v1", "oci-archive:{}:docker.io/library/app:v1"):
        assert platforms_of(select("name-two-platforms", reference=reference)) == {f"linux/{HOST}": ("app:v1",)}
    found = select("name-two-platforms", Wanted(parse(f"linux/{OTHER}")), "oci-archive:{}:app:v1")
    assert list(found.images) == [THERE.digest]


def test_without_names_all_images_come(select):
    assert list(select("unnamed-platforms").images) == [HERE.digest, THERE.digest]
    assert select("unnamed-platforms", MODES["platform"]).images == {HERE.digest: ()}


def test_a_platform_filters_what_has_names_of_its_own(select):
    parts = [oddities.entry(HERE, "a:1"), oddities.entry(THERE, "b:1"), oddities.entry(images.index(AFAR), "c:1")]
    files = oddities.layout(parts, HERE, THERE, images.index(AFAR))
    found = select("", MODES["platform"], files=files)
    assert found.images == {HERE.digest: ("a:1",)}
    assert [(one.name, one.why) for one in found.skipped.entries] == [
        ("b:1", f"for linux/{OTHER}, not for linux/{HOST}"),
        ("c:1", f"for linux/{THIRD}, not for linux/{HOST}"),
    ]


def test_an_archive_for_another_platform_says_which(select):
    assert select("only-other-image").images == {THERE.digest: ("app:v1",)}
    for name, wanted in (("only-other-index", MODES["default"]), ("only-other-image", MODES["platform"])):
        with pytest.raises(PlatformError, match=f"it has linux/{OTHER}; select it with --platform linux/{OTHER}"):
            select(name, wanted)
    with pytest.raises(PlatformError, match=f"it has linux/{OTHER}, linux/{THIRD}; select one with --platform"):
        select("name-other-platforms")


@pytest.mark.parametrize("damage", ["absent", "altered", "blake3"])
def test_what_is_for_another_platform_need_not_be_sound(select, damage):
    there = oddities.entry(THERE, "app:v1")
    more = []
    if damage == "blake3":
        there["digest"] = oddities.BLAKE3
    elif damage == "altered":
        more = [images.file(oddities.blob_path(THERE.digest), b"{}")]
    files = [*oddities.layout([there, oddities.entry(HERE, "app:v1")], HERE), *more]
    for mode in ("default", "platform"):
        found = select("", MODES[mode], files=files)
        assert found.images == {HERE.digest: ("app:v1",)}
        assert found.whys == [f"for linux/{OTHER}, not for linux/{HOST}"]
    with pytest.raises(ArstoreError):
        select("", Wanted(parse(f"linux/{OTHER}")), files=files)


def test_many_names_cost_no_more_than_one(select, monkeypatch):
    from arstore.oci.index import Index

    parsed = []
    real = Index.parse
    monkeypatch.setattr(Index, "parse", lambda raw, *more, **named: parsed.append(1) or real(raw, *more, **named))
    whole = images.index(HERE, THERE)
    entries = [oddities.entry(whole, f"app:{n}") for n in range(300)]
    entries += [oddities.entry(AFAR, f"app:{n}") for n in range(300)]
    files = oddities.layout(entries, whole, AFAR)
    assert len(select("", files=files).images[HERE.digest]) == 300
    assert len(parsed) < 10
    parsed.clear()
    (made,) = [names for names in select("", MODES["all"], files=files).indexes.values() if names]
    assert len(made) == 300
    assert len(parsed) < 10


# --- layouts and descriptors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in oddities.ARCHIVES if name.startswith(("layout-marker", "layout-no"))]
)
def test_the_marker_of_a_layout_says_nothing(select, name):
    assert select(name).images == {HERE.digest: ("app:v1",)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["untyped-image", "untyped-index", "untyped-parts"])
def test_what_has_no_type_is_told_by_its_content(select, name, mode):
    found = select(name, MODES[mode])
    assert list(found.images.values()) == [() if mode == "all" and name == "untyped-index" else ("app:v1",)]
    assert list(found.indexes.values()) == ([("app:v1",)] if mode == "all" and name == "untyped-index" else [])


def test_a_document_of_two_kinds_is_refused(select):
    with pytest.raises(ManifestError, match="readers would disagree"):
        select("untyped-both-kinds")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", [name for name in oddities.ARCHIVES if name.startswith("inlined-") and name != "inlined-wrong"]
)
def test_embedded_content_stands_for_what_is_not_there(select, name, mode):
    found = select(name, MODES[mode])
    assert len(found.images) == 1
    for digest, data in found.selection.embedded.items():
        assert images.sha256(data) == digest
    assert bool(found.selection.embedded) == (name in {"inlined-layer", "inlined-all"})


def test_embedded_content_has_to_be_the_right_one(select):
    with pytest.raises(DigestMismatchError):
        select("inlined-wrong")


@pytest.mark.parametrize("name", ["other-of-blake3", "other-has-layer-of-blake3"])
def test_digests_that_are_not_needed_may_be_of_any_algorithm(select, name):
    for mode in ("default", "platform"):
        assert select(name, MODES[mode]).images == {HERE.digest: ("app:v1",)}
    if name == "other-of-blake3":
        found = select(name, MODES["all"])
        assert found.images == {HERE.digest: ()}
        assert (list(found.indexes.values()), found.skipped.count) == ([("app:v1",)], 1)
        assert found.skipped.entries[0].digest == oddities.BLAKE3
    else:
        with pytest.raises(ManifestError, match="not a sha256 or sha512 digest"):
            select(name, MODES["all"])


# --- images that are not there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "absent"), [("sparse-others", [OTHER, THIRD]), ("sparse-host", [HOST]), ("sparse-layers", [OTHER])]
)
def test_all_platforms_of_a_sparse_index(select, name, absent):
    found = select(name, MODES["all"])
    assert len(found.images) == (2 if name == "sparse-layers" else 3) - len(absent)
    ((index, names),) = found.indexes.items()
    assert (index, names) == (found.selection.indexes[index].digest, ("app:v1",))
    assert [why.partition(":")[0] for why in found.whys] == [
        f"an image for linux/{one} that is missing" for one in absent
    ]


def test_a_sparse_index_by_platform(select):
    assert select("sparse-others").images == {HERE.digest: ("app:v1",)}
    for name in ("sparse-host", "sparse-all"):
        with pytest.raises(MissingBlobError, match=HERE.digest):
            select(name)
    with pytest.raises(MissingBlobError):
        select("sparse-all", MODES["all"])


def test_a_sparse_group_of_one_name(select):
    files = oddities.layout([oddities.entry(HERE, "app:v1"), oddities.entry(THERE, "app:v1")], HERE)
    found = select("", MODES["all"], files=files)
    assert found.images == {HERE.digest: ("app:v1",)}
    assert found.whys[0].startswith(f"an image for linux/{OTHER} that is missing")


def test_what_a_cut_archive_lacks_is_an_error(tmp_path, spool):
    files = oddities.ARCHIVES["sparse-others"]()
    whole = images.tar(files)
    end = len(whole) - len(whole.rstrip(b"\0")) // 512 * 512
    (tmp_path / "x").write_bytes(whole[:end].rstrip(b"\0") + bytes(-len(whole[:end].rstrip(b"\0")) % 512))
    with pytest.raises(MissingBlobError, match="no end mark"):
        Found(tmp_path / "x", spool, MODES["all"])


# --- docker-archives with layouts -----------------------------------------------------------------------------------


def test_a_layout_that_contradicts_the_table_gives_way(select):
    found = select("layout-contradicts")
    assert list(found.images.values()) == [("hello:latest",)]
    (one,) = found.selection.images.values()
    assert [layer.diff_id for layer in one.layers] == HERE.diff_ids


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("hybrid", ["app:0", "app:1"]),
        ("hybrid-more-in-layout", ["app:0", "docker.io/library/app:1", "docker.io/library/app:2"]),
        ("hybrid-more-in-table", ["app:0", "app:1", "app:2"]),
        ("hybrid-disjoint", ["docker.io/library/app:0", "app:1"]),
        ("hybrid-no-manifest", ["app:v1"]),
        ("hybrid-bad-table", ["app:v1"]),
    ],
)
def test_no_image_of_either_list_is_lost(select, name, names):
    found = select(name)
    assert [own for (own,) in found.images.values()] == names
    assert found.skipped.count == 0


def test_a_layer_that_neither_list_has_is_an_error(select):
    with pytest.raises(MissingBlobError, match="does not hold the layer"):
        select("hybrid-layer-absent")


def test_a_chart_beside_both_lists_is_skipped(select):
    files = oddities.hybrid()
    other, blobs = oddities.chart()
    index = next(one for one in files if one.info.name == "index.json")
    content = index.content.replace(b'"manifests":[', b'"manifests":[' + images.dump(other) + b",")
    files = [images.file("index.json", content) if one is index else one for one in files]
    files += [images.file(oddities.blob_path(images.sha256(data)), data) for data in blobs]
    found = select("", files=files)
    assert len(found.images) == 2
    assert found.skipped.count == 1


# --- configs --------------------------------------------------------------------------------------------------------

REFUSED = {
    "empty-rootfs-with-layers", "no-rootfs-with-layers", "more-diff-ids", "letter-case-top", "os-number",
    "variant-number",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(oddities.CONFIGS))
def test_configs_are_refused_only_for_what_counts(select, name):
    if name in REFUSED:
        with pytest.raises(ManifestError):
            select(f"config-{name}")
    else:
        assert list(select(f"config-{name}").images.values()) == [("app:v1",)]


# --- cost -----------------------------------------------------------------------------------------------------------


def test_a_table_that_repeats_itself_is_read_once(select, monkeypatch):
    from arstore.oci.config import ImageConfig

    parsed = []
    real = ImageConfig.parse
    monkeypatch.setattr(ImageConfig, "parse", lambda *some, **more: parsed.append(1) or real(*some, **more))
    one = images.image(images.layer([images.file("a")], "none"))
    layer = images.file("l.tar", one.layers[0].tar)
    rows = [("config.json", [f"app:{n}"], ["l.tar"]) for n in range(2000)]
    files = [images.file("config.json", one.config), layer, *oddities.manifest_json(*rows)]
    assert [len(names) for names in select("", files=files).images.values()] == [2000]
    assert len(parsed) < 10
    entries = [oddities.entry(one, f"other:{n}") for n in range(2000)]
    files = oddities.layout(entries, one, more=[images.file("config.json", one.config), *oddities.manifest_json(*rows)])
    parsed.clear()
    assert [len(names) for names in select("", files=files).images.values()] == [4000]
    assert len(parsed) < 10


def test_the_platform_of_an_artifact_is_not_offered(select):
    other, blobs = oddities.referrer(HERE, platform={"os": "linux", "architecture": HOST})
    raw = images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [other, oddities.entry(THERE)]})
    whole = images.Collection((THERE,), raw)
    files = oddities.layout([oddities.entry(whole, "app:v1")], whole, blobs=blobs)
    with pytest.raises(PlatformError, match=f"it has linux/{OTHER}; select it"):
        select("", files=files)


@pytest.mark.parametrize("where", ["entry", "config"])
def test_types_are_shown_in_one_short_line(select, where):
    long = "application/x\n" + "y" * 100_000
    if where == "entry":
        entry, blobs = oddities.unknown(media_type=long)
    else:
        raw = oddities.manifest_of(oddities.thing(b"{}", long), [])
        entry, blobs = oddities.thing(raw, images.OCI_MANIFEST), [raw, b"{}"]
    found = select("", files=oddities.layout([entry, oddities.entry(HERE, "a:1")], HERE, blobs=blobs))
    (line,) = skipped_lines(found.skipped.entries, found.skipped.count)
    assert len(line) < 300
    assert line.isprintable()
