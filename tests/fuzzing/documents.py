"""Targets that read documents and user input: manifests, indexes, configs, layouts, archives' tables, names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support import images

from arstore.digest import Digest
from arstore.oci import instruction, media_type, platform, reference
from arstore.oci.config import ImageConfig
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Bounds, parse
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.tar.entry import Kind
from arstore.transport.dir import Dir, is_dir
from arstore.transport.docker_archive import DockerArchive, is_docker_archive
from arstore.transport.hybrid import Hybrid
from arstore.transport.layout import Layout, is_layout
from arstore.transport.location import parse_location
from arstore.transport.media.blob import OpenFile
from arstore.transport.media.members import Member, Members
from arstore.transport.names import Choice
from arstore.transport.selection.selector import Selector, Wanted
from fuzzing import mutators
from fuzzing.target import Target, scratch

if TYPE_CHECKING:
    from collections.abc import Callable

_HOST = platform.Platform("linux", "amd64")
_SMALL = Bounds(document=1200, json_depth=5, layers=3, manifests=3, index_depth=1, remedy="{} raises it")
"""Bounds so low that short inputs exceed them."""


def read_manifest(data: bytes) -> None:
    """Read a manifest, and write its descriptors again."""
    bounds = _bounds(data)
    manifest = Manifest.parse(data, "manifest", None if len(data) % 2 else media_type.OCI_MANIFEST, bounds)
    assert isinstance(manifest.is_image, bool)
    assert len(manifest.layers) <= bounds.layers
    for descriptor in (manifest.config, *manifest.layers):
        again = Descriptor.parse(descriptor.to_json(), "again")
        assert again.digest == descriptor.digest
    Manifest.parse(Manifest.build(manifest.config, manifest.layers, manifest.annotations))


def read_index(data: bytes) -> None:
    """Read an index, choose by platform, and read its names."""
    bounds = _bounds(data)
    index = Index.parse(data, "index", bounds=bounds)
    assert len(index.manifests) <= bounds.manifests
    assert len(platform.select([one.platform for one in index.manifests], _HOST)) <= len(index.manifests)
    for one in index.manifests:
        notes = one.annotations
        reference.from_annotations(
            notes.get("org.opencontainers.image.ref.name"), notes.get("io.containerd.image.name")
        )
    Index.parse(Index.build(index.manifests, index.annotations))


def read_config(data: bytes) -> None:
    """Read a config, and the same with one more layer and instruction."""
    bounds = _bounds(data)
    config = ImageConfig.parse(data, "config", bounds)
    assert len(config.diff_ids) <= bounds.layers
    more = ImageConfig.parse(config.with_layer(Digest("sha256:" + "0" * 64), "fuzz", "2026-01-01T00:00:00Z"), "config")
    assert len(more.diff_ids) == len(config.diff_ids) + 1
    ImageConfig.parse(instruction.changed(data, [instruction.Instruction.parse("ENV A=b")]), "config")


def read_types(data: bytes) -> None:
    """Detect the kind of a document, with the announced type in front of it."""
    announced, _, rest = data.partition(b"\n")
    text = announced.decode("utf-8", "replace")
    for ask in (media_type.is_layer, media_type.is_docker, media_type.is_index):
        ask(text)
    document = parse(rest, "document")
    media_type.document_type(document, text or None, "document")


def read_layout(data: bytes) -> None:
    """Read `oci-layout`, a NUL, `index.json`: alone, then as an archive with blobs."""
    layout, _, index = data.partition(b"\0")
    members = _members({b"oci-layout": layout, b"index.json": index, **_BLOBS})
    if is_layout(members):
        source = Layout(members, "box.tar", bounds=_bounds(data))
        if len(data) % 2:
            Selector(source, Wanted(every=len(data) % 4 == 1)).select()
        else:
            assert all(isinstance(image.descriptor.digest, str) for image in source.images())


def read_docker_archive(data: bytes) -> None:
    """Read `manifest.json`, a NUL, a config."""
    table, _, config = data.partition(b"\0")
    members = _members({b"manifest.json": table, b"c.json": config, b"l/layer.tar": b"layer", **_BLOBS})
    members.add(b"link", Member(Kind.SYMLINK, link=b"l/layer.tar"))
    members.add(b"loop", Member(Kind.SYMLINK, link=b"loop"))
    if is_docker_archive(members):
        if len(data) % 2:
            index = next(one.content for one in images.layout_files(_IMAGE) if one.info.name == "index.json")
            both = _members({b"manifest.json": table, b"c.json": config, b"index.json": index, **_BLOBS})
            Selector(Hybrid(both, "box.tar", bounds=_bounds(data)), Wanted()).select()
        else:
            source = DockerArchive(members, "box.tar", bounds=_bounds(data))
            assert all(image.descriptor.digest for image in source.images())


def read_dir(data: bytes) -> None:
    """Read `version`, a NUL, `manifest.json`."""
    version, _, manifest = data.partition(b"\0")
    members = _members({b"version": version, b"manifest.json": manifest})
    if is_dir(members):
        for image in Dir(members, bounds=_bounds(data)).images():
            assert image.descriptor.digest


def read_names(data: bytes) -> None:
    """Read user input for an image: each grammar accepts the text or refuses it."""
    text = os.fsdecode(data)
    which, text = ord(text[:1] or "0") % 8, text[1:]
    if which == 0:
        name = reference.parse_name(text)
        assert reference.parse_name(str(name)) == name
        assert str(name) in reference.candidates(name)
    elif which == 1:
        query = reference.parse_query(text)
        query.candidates()
    elif which == 2:
        reference.parse_transport(text)
    elif which == 3:
        found = reference.from_file_name(text)
        assert found is None or reference.parse_name(str(found)) == found
    elif which == 4:
        one, _, rest = text.partition(" ")
        other, _, third = rest.partition(" ")
        found = reference.from_annotations(one, other, third)
        assert found is None or reference.parse_name(str(found)) == found
    elif which == 5:
        Choice.parse(text)
    elif which == 6:
        parse_location(text)
    else:
        instruction.Instruction.parse(text)


def read_platform(data: bytes) -> None:
    """Read a platform as typed; normalising it again changes nothing."""
    found = platform.parse(os.fsdecode(data))
    assert found.normalised() == found
    assert platform.select([found, None], found)[0] == 0


def _bounds(data: bytes) -> Bounds:
    return BOUNDS if len(data) % 3 else _SMALL


_LAYER = images.layer([images.file("a", b"1")])
_IMAGE = images.image(_LAYER, names=["box:1"], config={"Cmd": ["/bin/sh"], "Env": ["A=b"], "Labels": {"a": "b"}})


def _members(files: dict[bytes, bytes]) -> Members:
    """The table of a real archive with these files."""
    fd = scratch("archive").put("archive", b"".join(files.values()))
    members = Members("archive")
    file, offset = OpenFile(fd), 0
    for name, data in files.items():
        members.add(name, Member(Kind.FILE, file, offset, len(data)))
        offset += len(data)
    return members


_BLOBS = {f"blobs/sha256/{digest.partition(':')[2]}".encode(): blob for digest, blob in _IMAGE.blobs().items()}


def _manifests() -> list[bytes]:
    docker = images.image(_LAYER, docker=True)
    noted = images.image(_LAYER, edit_manifest=lambda one: one.update(annotations={"a": "b"}, subject=one["config"]))
    return [_IMAGE.manifest, docker.manifest, noted.manifest]


def _indexes() -> list[bytes]:
    made = [images.index(_IMAGE).raw, images.index(_IMAGE, docker=True).raw]
    return [*made, *(one.content for one in images.layout_files(_IMAGE) if one.info.name == "index.json")]


def _configs() -> list[bytes]:
    process = {
        "User": "0:0", "Env": ["PATH=/bin"], "Entrypoint": ["/x"], "Cmd": None, "Volumes": {"/v": {}},
        "WorkingDir": "/",
        "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["NONE"]},
    }  # fmt: skip
    return [_IMAGE.config, images.image(_LAYER, config=process, variant="v8").config, images.image().config]


def _layouts() -> list[bytes]:
    return [images.LAYOUT + b"\0" + index for index in _indexes()]


def _tables() -> list[bytes]:
    entry = {"Config": "c.json", "RepoTags": ["box:1", "<none>:<none>"], "Layers": ["l/layer.tar"]}
    more = [
        entry,
        {**entry, "Layers": ["link"], "RepoTags": None},
        {**entry, "Layers": ["loop"]},
        {**entry, "Config": "../c"},
    ]
    tables = [images.dump([one]) for one in more]
    tables.append(images.dump([{**entry, "Config": f"{_IMAGE.config_digest[7:]}.json"}]))
    return [table + b"\0" + _IMAGE.config for table in tables]


def _versions() -> list[bytes]:
    return [b"Directory Transport Version: 1.1\n\0" + one for one in (*_manifests(), *_indexes())]


def _typed() -> list[bytes]:
    digest = "sha256:" + "ab" * 32
    texts = (
        "0box", "0docker.io/library/box:1.0", "0localhost:5000/a/b-c_d.e:tag", "0[::1]:80/x", f"1box@{digest}",
        f"1{digest}",
        "1sha256:abcd", "1abcdef", "1" + "ab" * 32, "2oci:dir:tag", "2docker://x", "2dir:/x", "2containers-storage:x",
        "3images/Box.tar.gz", "3a:b.tar", f"4box:1@{digest} docker.io/library/box:1 file.tar", "4v1.0  box.tar",
        "4latest  b",
        "5:@3", f"5@{digest}", "5:name", "6oci:missing:box", "6docker-archive:x.tar:@1", "6-", "6oci:-:x",
        "7ENV A=b C='d e'",
        '7CMD ["a","b"]', "7EXPOSE 80-90/udp", "7LABEL a b", "7VOLUME /a /b", "7WORKDIR ../x", "7STOPSIGNAL RTMIN+3",
    )  # fmt: skip
    return [text.encode() for text in texts]


def _platforms() -> list[bytes]:
    texts = (
        "linux/amd64",
        "linux/arm/v7",
        "linux/arm64/v8.0",
        "x86_64",
        "windows",
        "linux/amd64/v2",
        "a/b/c/d",
        "macos",
    )
    return [text.encode() for text in texts]


def _target(
    name: str,
    run: Callable[[bytes], object],
    seeds: Callable[[], list[bytes]],
    words: tuple[str, ...] = (),
    longest: int = 1536,
) -> Target:
    return Target(name, run, seeds, longest, mutators.document, words=tuple(word.encode() for word in words))


_TYPES = tuple(f'"{name}"' for name in sorted(media_type.MANIFESTS | media_type.INDEXES | media_type.CONFIGS))
_MARKS = (
    '"schemaVersion":1',
    '"fsLayers":[]',
    '"manifests":[]',
    '"mediaType":',
    '"urls":[]',
    '"platform":{}',
    "null",
    "\\u0000",
)

TARGETS = (
    _target("manifest", read_manifest, _manifests, (*_TYPES, *_MARKS)),
    _target("index", read_index, _indexes, (*_TYPES, *_MARKS, '"os.features":[]', '"variant":"v8"')),
    _target("config", read_config, _configs, ('"Env":["A"]', '"os.version":""', '"empty_layer":true', "\\ud800",
        *_MARKS)),
    _target("layout", read_layout, _layouts, (*_TYPES, *_MARKS, '"imageLayoutVersion"')),
    _target("docker-archive", read_docker_archive, _tables, ('"link"', '"loop"', '"../x"', "\\ud800",
        '"RepoTags":["a:b"]')),
    _target("dir", read_dir, _versions, (*_TYPES, *_MARKS)),
    _target(
        "media-type", read_types, lambda: [f"{kind}\n".encode() + one for kind in ("",
        images.OCI_INDEX) for one in _manifests()],
        (*_TYPES, *_MARKS),
    ),
    Target("names", read_names, _typed, 300, words=(b"docker.io/library/", b"localhost/", b"sha256:", b"@", b":",
        b"//", b".tar")),
    Target("platform", read_platform, _platforms, 80, words=(b"linux", b"arm64", b"/", b"v9.5", b"armhf", b"wasm")),
)  # fmt: skip
