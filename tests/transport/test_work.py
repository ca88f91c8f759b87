"""Work for one source: each document is parsed once, and repetitions are refused by a count."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from support import images, stores

from arstore.errors import DigestMismatchError, LimitError, SizeMismatchError, UnsafePathError
from arstore.oci import config as oci_config
from arstore.tar.entry import Kind
from arstore.tar.limits import Limits
from arstore.transport import facts
from arstore.transport.copy import import_reference
from arstore.transport.detect import open_source
from arstore.transport.documents import Documents
from arstore.transport.media.members import Member, Members
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.work import Work

LAYER = images.layer([images.file("f")], "none")


def blob(data):
    return images.file("blobs/" + images.sha256(data).replace(":", "/"), data)


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": images.sha256(data), "size": len(data), **more}


def named(kind, data, name):
    return descriptor(kind, data, annotations={images.REF_NAME: name})


def listing(*entries, **more):
    return images.dump({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(entries), **more})


def layout(entries, *blobs):
    return [images.file("oci-layout", images.LAYOUT), images.file("index.json", listing(*entries)), *map(blob, blobs)]


def manifests(count, config, layers=(LAYER,)):
    """Manifests that differ in an annotation."""
    one = {
        "schemaVersion": 2,
        "config": descriptor(images.OCI_CONFIG, config),
        "layers": [each.descriptor() for each in layers],
    }
    return [images.dump({**one, "annotations": {"number": str(number)}}) for number in range(count)]


def pictures(count):
    return [
        images.image(
            LAYER, names=[f"n{number}:1"], edit_config=lambda one, author=str(number): one.update(author=author)
        )
        for number in range(count)
    ]


@pytest.fixture
def parsed(monkeypatch):
    """The number of times that each text was parsed."""
    count = Counter()
    for module, name in ((facts, "parse_value"), (oci_config, "parse")):
        real = getattr(module, name)

        def counting(raw, *more, real=real):
            count[bytes(raw)] += 1
            return real(raw, *more)

        monkeypatch.setattr(module, name, counting)
    return count


@pytest.fixture
def select(tmp_path, spool):
    """Writes the files of an archive and selects from it, *every* platform or one; returns the images and the work."""

    def run(files, *, every=False, limits=None, compression="gzip", text="{}"):
        path = images.write_archive(tmp_path / "x", files, compression)
        with open_source(text.format(path), spool, limits=limits or Limits()) as source:
            found = Selector(source, Wanted(every=every), limits or Limits()).select()
            return found, source.facts.work

    return run


# --- each document once ---------------------------------------------------------------------------------------------

HOW = ["layout", "hybrid", "docker"]


def files_of(how, *some):
    return (
        images.layout_files(*some)
        if how == "layout"
        else images.docker_files(*some, style="hybrid" if how == "hybrid" else "podman")
    )


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_documents_are_parsed_once(select, parsed, how, every):
    some = pictures(3)
    select(files_of(how, *some), every=every)
    assert {parsed[one.config] for one in some} == {1}
    assert set(parsed.values()) == {1}


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("has_table", [False, True])
def test_a_config_that_images_share_is_parsed_once(select, parsed, every, has_table):
    one = images.image(LAYER)
    some = manifests(50, one.config)
    files = layout(
        [named(images.OCI_MANIFEST, raw, f"n{number}:1") for number, raw in enumerate(some)],
        one.config, LAYER.blob, *some,
    )  # fmt: skip
    if has_table:
        table = [{"Config": f"{images.sha256(one.config)[7:]}.json", "RepoTags": [], "Layers": ["x"]}]
        files.append(images.file("manifest.json", images.dump(table)))
    found, _ = select(files, every=every)
    assert len(found.images) == 50
    assert set(parsed.values()) == {1}


@pytest.mark.parametrize("every", [False, True])
def test_indexes_within_many_indexes_are_parsed_once(select, parsed, every):
    one = images.image(LAYER)
    inner = listing(*(descriptor(images.OCI_MANIFEST, raw) for raw in manifests(3, one.config)))
    some = manifests(3, one.config)
    outer = [listing(descriptor(images.OCI_INDEX, inner), annotations={"n": str(number)}) for number in range(20)]
    entries = [named(images.OCI_INDEX, raw, f"n{number}:1") for number, raw in enumerate(outer)]
    select(layout(entries, inner, one.config, LAYER.blob, *some, *outer), every=every)
    assert set(parsed.values()) == {1}


@pytest.mark.parametrize("every", [False, True])
def test_one_digest_under_many_types_and_platforms_is_parsed_once(select, parsed, every):
    one = images.image(LAYER)
    kinds = ("", images.OCI_MANIFEST)
    entries = [
        {**named(kind, one.manifest, f"n{number}:1"), "platform": {"os": "linux", "architecture": f"a{number}"}}
        for number, kind in enumerate(kinds * 20)
    ]
    for entry in entries:
        if not entry["mediaType"]:
            del entry["mediaType"]
    select(layout(entries, one.manifest, one.config, LAYER.blob), every=every, text="oci-archive:{}:n0:1")
    assert set(parsed.values()) == {1}


def test_docker_items_that_name_one_config_in_many_ways_read_it_once(select, parsed):
    one = images.image(LAYER)
    table = [{"Config": "./" * number + "c", "RepoTags": [f"n{number}:1"], "Layers": ["l"]} for number in range(30)]
    files = [
        images.file("c", one.config),
        images.file("l", LAYER.tar),
        images.file("manifest.json", images.dump(table)),
    ]
    found, _ = select(files)
    assert [len(image.names) for image in found.images.values()] == [30]
    assert set(parsed.values()) == {1}


@pytest.mark.parametrize("extra", [b"", b" "], ids=["sound", "altered"])
def test_a_document_is_not_read_again_for_each_size_that_is_announced(tmp_path, spool, extra):
    """Whether its content fits its digest does not depend on the announced size."""
    one = images.image(LAYER)
    files = layout([one.descriptor()], one.config, LAYER.blob)
    files.append(images.file("blobs/" + one.digest.replace(":", "/"), one.manifest + extra))
    with open_source(str(images.write_archive(tmp_path / "x", files)), spool) as source:
        opened = Counter()
        real = source.open_manifest
        source.open_manifest = lambda entry: opened.update([entry.digest]) or real(entry)
        documents = Documents(source, Limits())
        (image,) = source.images()
        for size in range(40):
            with pytest.raises((SizeMismatchError, DigestMismatchError)):
                documents.get(replace(image.descriptor, size=size))
    # Once by the medium, which looks for attachments of an image, and once here.
    assert set(opened.values()) <= {1, 2}


# --- what is repeated is refused --------------------------------------------------------------------------------------


def hybrid_of_indexes(outer, inner):
    """Indexes that all lead to one index, in a layout with a `manifest.json`."""
    one = images.image(LAYER)
    some = manifests(inner, one.config)
    below = listing(*(descriptor(images.OCI_MANIFEST, raw) for raw in some))
    tops = [listing(descriptor(images.OCI_INDEX, below), annotations={"n": str(number)}) for number in range(outer)]
    entries = [named(images.OCI_INDEX, raw, f"n{number}:1") for number, raw in enumerate(tops)]
    files = layout(entries, below, one.config, LAYER.blob, *some, *tops)
    table = [{"Config": "absent.json", "RepoTags": ["t:1"], "Layers": ["x"]}]
    return [*files, images.file("manifest.json", images.dump(table))]


def items(count):
    return [
        images.file("c", images.image().config),
        images.file("manifest.json", images.dump([{"Config": "c"}] * count)),
    ]


def tags(entries, names):
    """Images with one config, for which `manifest.json` has all *names*."""
    one = images.image(LAYER)
    some = manifests(entries, one.config)
    files = layout([descriptor(images.OCI_MANIFEST, raw) for raw in some], one.config, LAYER.blob, *some)
    table = [{"Config": f"{one.config_digest[7:]}.json", "RepoTags": [f"n{n}:1" for n in range(names)], "Layers": []}]
    return [*files, images.file("manifest.json", images.dump(table))]


def nested(outer, inner):
    """Indexes that all lead to one index of manifests for other platforms."""
    one = images.image(LAYER)
    some = manifests(1, one.config)
    entries = [
        {**descriptor(images.OCI_MANIFEST, some[0]), "platform": {"os": "linux", "architecture": f"a{number}"}}
        for number in range(inner)
    ]
    below = listing(*entries)
    tops = [listing(descriptor(images.OCI_INDEX, below), annotations={"n": str(number)}) for number in range(outer)]
    named_tops = [named(images.OCI_INDEX, raw, f"n{number}:1") for number, raw in enumerate(tops)]
    return layout(named_tops, below, one.config, LAYER.blob, *some, *tops)


def large_configs(count, size=1 << 20):
    some = [images.image(LAYER, edit_config=lambda one, n=n: one.update(x=str(n) * size)) for n in range(count)]
    return images.layout_files(*some)


@pytest.mark.parametrize(
    ("files", "every", "name"),
    [
        (lambda: hybrid_of_indexes(400, 300), False, "visits"),
        (lambda: items(20_001), False, "images"),
        (lambda: tags(400, 400), False, "visits"),
        (lambda: nested(200, 2000), True, "visits"),
        (lambda: large_configs(9), False, "parsed"),
    ],
    ids=["indexes beside a table", "items", "tags of one config", "indexes in indexes", "large configs"],
)
def test_what_costs_more_than_a_source_has_is_refused(select, files, every, name):
    with pytest.raises(LimitError, match=r"allowed|more than 20000 images") as caught:
        select(files(), every=every)
    assert caught.value.hint == f"--limit {name}=VALUE raises this limit"
    assert "\n" not in str(caught.value)


def test_layers_are_counted_over_all_images(select):
    limits = Limits(references=40)
    some = [images.image(*[LAYER] * 10, edit_config=lambda one, n=n: one.update(author=str(n))) for n in range(5)]
    with pytest.raises(LimitError, match=r"has images that name 50 layers; for its size, 4[0-9] are allowed"):
        select(images.layout_files(*some), limits=limits)
    found, work = select(images.layout_files(*some[:4]), limits=limits)
    assert len(found.images) == 4
    with pytest.raises(LimitError, match="references"):
        work.refer(1000)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_source_pays_for_its_work_with_the_bytes_that_it_came_in(select, tmp_path, compression):
    files = images.layout_files(*pictures(3))
    _, work = select(files, compression=compression)
    assert work._size == (tmp_path / "x").stat().st_size


def test_holes_pay_for_nothing(tmp_path, spool):
    path = images.write_oci_archive(tmp_path / "x", *pictures(1))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with open_source(str(path), spool) as source:
        assert source.facts.work._size <= size + 4096


def test_a_directory_pays_with_what_is_read_of_it(tmp_path, spool):
    some = pictures(2)
    with open_source(str(images.write_layout(tmp_path / "x", *some)), spool) as source:
        Selector(source, Wanted()).select()
        assert source.facts.work._size == sum(len(one.manifest) + len(one.config) for one in some)


def test_what_is_used_up_stays_so():
    """A reader that skips unreadable entries must not go on for hours."""
    work = Work("it", Limits(visits=10), 0)
    with pytest.raises(LimitError):
        work.visit(11)
    for again in (work.visit, lambda: work.parse(b"{}"), lambda: work.refer(1)):
        with pytest.raises(LimitError, match="visits"):
            again()


# --- the counter-test -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_distinct_images_cost_as_much_as_they_are(select, how):
    """Each has different documents; ten times as many take ten times the work."""
    few, many = (select(files_of(how, *pictures(count)))[1] for count in (30, 300))
    for count in ("_visits", "_references", "_parsed"):
        assert getattr(many, count) <= 10.5 * getattr(few, count)


@pytest.mark.long
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_ten_thousand_images_are_selected(select, how, every):
    found, _ = select(files_of(how, *pictures(10_000)), every=every)
    assert len(found.images) == 10_000


@pytest.mark.long
@pytest.mark.root
def test_ten_thousand_images_are_imported(tmp_path):
    path = images.write_oci_archive(tmp_path / "x.tar.gz", *pictures(10_000), compression="gzip")
    with stores.opened(tmp_path / "store") as store:
        assert len(import_reference(store, str(path))) == 10_000
        assert len(store.images()) == 10_000


def test_names_that_share_a_chain_of_links_follow_it_once(tmp_path, spool, monkeypatch):
    """A chain has forty links of 4,000 bytes, and thousands of names may begin it."""
    long = "././" * 900
    chain = [images.symlink(f"m{number}", f"{long}m{number + 1}") for number in range(30)]
    chain.append(images.file("m30", images.image(LAYER).config))
    names = [images.symlink(f"c{number}", "m0") for number in range(500)]
    table = [{"Config": one.info.name, "Layers": ["l"], "RepoTags": [f"{one.info.name}:1"]} for one in names]
    files = [*chain, *names, images.file("l", LAYER.tar), images.file("manifest.json", images.dump(table))]
    followed = Counter()
    real = Members._joined
    monkeypatch.setattr(
        Members, "_joined", lambda self, base, link, name: followed.update([link]) or real(self, base, link, name)
    )
    with open_source(str(images.write_archive(tmp_path / "x", files)), spool) as source:
        assert len(Selector(source, Wanted()).select().images) == 1
    assert max(count for link, count in followed.items() if len(link) > 1000) == 1


@pytest.mark.parametrize("links", [39, 40, 41])
def test_a_chain_is_as_long_from_wherever_it_is_entered(links):
    members = Members("it")
    members.add(b"end", Member(Kind.FILE))
    for number in range(links):
        members.add(b"m%d" % number, Member(Kind.SYMLINK, link=b"m%d" % (number + 1) if number < links - 1 else b"end"))
    for start in (links - 1, 5, 2):
        assert members.resolve(f"m{start}") == b"end"
    for start in (0, 1, 0):
        if links - start < 40:
            assert members.resolve(f"m{start}") == b"end"
        else:
            with pytest.raises(LimitError):
                members.resolve(f"m{start}")


@pytest.mark.parametrize("target", [b"../x", b"/x", b"m"])
def test_a_chain_that_leads_nowhere_is_refused_each_time(target):
    members = Members("it")
    for name, link in ((b"m", target), (b"n", b"m")):
        members.add(name, Member(Kind.SYMLINK, link=link))
    for name in ("n", "m", "n"):
        with pytest.raises((UnsafePathError, LimitError), match=f"it: {name}: "):
            members.resolve(name)
