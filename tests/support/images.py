"""Small images for tests, made in pure Python: layers from a list of members, every archive form, every compression.

    base = layer([directory("etc"), file("etc/hostname", b"box\\n")])
    picture = image(base, names=["app:1"], config={"Cmd": ["/bin/sh"]})
    write_oci_archive(tmp_path / "app.tar", picture, compression="gzip")

Nothing here imports arstore: the expected values of a test must not come from the tested code. Output is deterministic.
Hostile forms come from `replace` and `omit` (blobs that differ from the manifests), from `edit_config` and
`edit_manifest`, from members with any header, and from cutting or altering the bytes afterwards.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import json
import lzma
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

COMPRESSIONS = ("none", "gzip", "zstd", "xz", "bzip2")
SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst", "xz": ".xz", "bzip2": ".bz2"}
LAYER_SUFFIXES = {"none": "", "gzip": "+gzip", "zstd": "+zstd", "xz": "+xz", "bzip2": "+bzip2"}
EPOCH = 1_700_000_000
"""Seconds since the epoch of members whose time does not matter."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
HOST_ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())


def sha256(data: bytes) -> str:
    """`sha256:` and the digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(document: Any) -> bytes:
    """A JSON document as compact, deterministic bytes."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _zstd(data: bytes) -> bytes:
    try:
        from compression.zstd import compress
    except ImportError:
        from backports.zstd import compress
    return compress(data)


def compressed(data: bytes, compression: str) -> bytes:
    """*data* compressed by one of COMPRESSIONS."""
    if compression == "none":
        return data
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    return {"zstd": _zstd, "xz": lzma.compress, "bzip2": bz2.compress}[compression](data)


# --- members of a layer ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Member:
    """One member of a layer: a header of the standard library's kind, and the content."""

    info: tarfile.TarInfo
    content: bytes = b""


def text(name: str | bytes) -> str:
    """A name as `tarfile` takes it: bytes that are not UTF-8 become surrogates."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


def _member(name: str | bytes, kind: bytes, mode: int, more: Mapping[str, Any], content: bytes = b"") -> Member:
    info = tarfile.TarInfo(text(name))
    info.type, info.mode, info.mtime, info.size = kind, mode, EPOCH, len(content)
    for key, value in more.items():
        if key == "mtime_ns":
            seconds, rest = divmod(value, 1_000_000_000)
            info.mtime = max(seconds, 0)
            info.pax_headers["mtime"] = _decimal(value) if rest or seconds < 0 else str(seconds)
        elif key == "xattrs":
            for attribute, data in value.items():
                info.pax_headers[f"SCHILY.xattr.{attribute}"] = data.decode("utf-8", "surrogateescape")
        elif key in {"uid", "gid", "mtime", "uname", "gname", "devmajor", "devminor", "linkname", "pax_headers"}:
            setattr(info, key, value)
        else:
            raise TypeError(f"a member has no {key}")
    return Member(info, content)


def _decimal(nanoseconds: int) -> str:
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return f"{sign}{value // 1_000_000_000}.{value % 1_000_000_000:09d}"


def file(name: str | bytes, content: bytes = b"", mode: int = 0o644, **more: Any) -> Member:
    """A regular file. *more*: uid, gid, mtime (s), mtime_ns, xattrs ({name: bytes}), pax_headers."""
    return _member(name, tarfile.REGTYPE, mode, more, content)


def directory(name: str | bytes, mode: int = 0o755, **more: Any) -> Member:
    """A directory; "./" is the root."""
    return _member(name, tarfile.DIRTYPE, mode, more)


def symlink(name: str | bytes, target: str | bytes, mode: int = 0o777, **more: Any) -> Member:
    """A symbolic link."""
    return _member(name, tarfile.SYMTYPE, mode, {**more, "linkname": text(target)})


def hardlink(name: str | bytes, target: str | bytes, mode: int = 0o644, **more: Any) -> Member:
    """A hard link to *target*, a path in the layer."""
    return _member(name, tarfile.LNKTYPE, mode, {**more, "linkname": text(target)})


def device(name: str | bytes, kind: str, major: int, minor: int, mode: int = 0o600, **more: Any) -> Member:
    """A device node; *kind* is "c" or "b"."""
    letter = {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}[kind]
    return _member(name, letter, mode, {**more, "devmajor": major, "devminor": minor})


def fifo(name: str | bytes, mode: int = 0o644, **more: Any) -> Member:
    """A named pipe."""
    return _member(name, tarfile.FIFOTYPE, mode, more)


def whiteout(name: str) -> Member:
    """The mark that hides *name* of the lower layers."""
    parent, _, last = name.rpartition("/")
    return file(f"{parent}/.wh.{last}" if parent else f".wh.{last}", mode=0)


def opaque(name: str) -> Member:
    """The mark that hides everything that lower layers have in the directory *name*."""
    return file(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq", mode=0)


def tar(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    """The members as an uncompressed archive, in their order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for member in members:
            archive.addfile(member.info, io.BytesIO(member.content) if member.content else None)
    return stream.getvalue()


# --- layers, images, indexes ----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Layer:
    """A layer: the uncompressed tar, and the blob as it is stored."""

    tar: bytes = field(repr=False)
    blob: bytes = field(repr=False)
    compression: str = "none"
    media_type: str = ""
    """Overrides the media type that follows from the image's kind and the compression."""

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed tar."""
        return sha256(self.tar)

    @property
    def digest(self) -> str:
        """The digest of the blob."""
        return sha256(self.blob)

    def descriptor(self, docker: bool = False) -> dict[str, Any]:
        """The layer's entry in a manifest."""
        suffix = LAYER_SUFFIXES[self.compression].replace("+", ".") if docker else LAYER_SUFFIXES[self.compression]
        media_type = self.media_type or (DOCKER_LAYER if docker else OCI_LAYER) + suffix
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.blob)}


def layer(members: Iterable[Member] | bytes, compression: str = "gzip", media_type: str = "") -> Layer:
    """A layer from members, or from the bytes of a tar."""
    data = members if isinstance(members, bytes) else tar(members)
    return Layer(data, compressed(data, compression), compression, media_type)


@dataclass(slots=True, frozen=True)
class Picture:
    """An image: config and manifest as bytes, its layers, and the names that archives give it."""

    layers: tuple[Layer, ...]
    config: bytes = field(repr=False)
    manifest: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    docker: bool = False

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return sha256(self.manifest)

    @property
    def config_digest(self) -> str:
        """The digest of the config."""
        return sha256(self.config)

    @property
    def diff_ids(self) -> list[str]:
        """The layers' diff IDs, bottom first."""
        return [one.diff_id for one in self.layers]

    @property
    def chain_ids(self) -> list[str]:
        """The layers' chain IDs, bottom first (image-spec config.md, "Layer ChainID")."""
        chain: list[str] = []
        for diff_id in self.diff_ids:
            chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
        return chain

    @property
    def media_type(self) -> str:
        """The manifest's media type."""
        return DOCKER_MANIFEST if self.docker else OCI_MANIFEST

    def descriptor(self) -> dict[str, Any]:
        """The image's entry in an index, with its platform, without annotations."""
        config = json.loads(self.config)
        keys = {"os": "os", "architecture": "architecture", "variant": "variant"}
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": {name: config[key] for name, key in keys.items() if config.get(key)},
        }

    def blobs(self) -> dict[str, bytes]:
        """Every blob of the image by digest."""
        found = {one.digest: one.blob for one in self.layers}
        return {**found, self.config_digest: self.config, self.digest: self.manifest}


def image(
    *layers: Layer,
    names: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    docker: bool = False,
    architecture: str = HOST_ARCHITECTURE,
    variant: str = "",
    edit_config: Callable[[dict[str, Any]], Any] | None = None,
    edit_manifest: Callable[[dict[str, Any]], Any] | None = None,
) -> Picture:
    """An image of *layers*, bottom first.

    *config* is the process part (Env, Cmd, Entrypoint, WorkingDir, User, ...). *edit_config* and *edit_manifest* may
    change the documents before they become bytes, to make them wrong.
    """
    document: dict[str, Any] = {
        "created": "2023-11-14T22:13:20Z",
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"layer {n}"} for n in range(len(layers))],
    }
    if variant:
        document["variant"] = variant
    if edit_config:
        edit_config(document)
    raw_config = dump(document)
    config_type = DOCKER_CONFIG if docker else OCI_CONFIG
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": {"mediaType": config_type, "digest": sha256(raw_config), "size": len(raw_config)},
        "layers": [one.descriptor(docker) for one in layers],
    }
    if edit_manifest:
        edit_manifest(manifest)
    return Picture(layers, raw_config, dump(manifest), tuple(names), docker)


@dataclass(slots=True, frozen=True)
class Collection:
    """An index (a manifest list) over images or further indexes."""

    parts: tuple[Picture | Collection, ...]
    raw: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    docker: bool = False

    @property
    def digest(self) -> str:
        """The digest of the index."""
        return sha256(self.raw)

    def descriptor(self) -> dict[str, Any]:
        """The index's entry in another index."""
        media_type = DOCKER_INDEX if self.docker else OCI_INDEX
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.raw)}

    def blobs(self) -> dict[str, bytes]:
        """Every blob below the index, and the index itself."""
        found: dict[str, bytes] = {}
        for part in self.parts:
            found.update(part.blobs())
        return {**found, self.digest: self.raw}


def index(*parts: Picture | Collection, names: Sequence[str] = (), docker: bool = False) -> Collection:
    """An index over *parts*, each with its platform."""
    media_type = DOCKER_INDEX if docker else OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": [part.descriptor() for part in parts]}
    return Collection(parts, dump(document), tuple(names), docker)


# --- archives -------------------------------------------------------------------------------------------------------

Files = list[Member]
"""The files of an archive or a directory of images, in order (links too, in old docker-archives)."""


def _index_json(images: Sequence[Picture | Collection], annotation: str) -> bytes:
    manifests = []
    for one in images:
        for name in one.names or ("",):
            descriptor = one.descriptor()
            if name:
                descriptor["annotations"] = {annotation: name}
            manifests.append(descriptor)
    return dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})


def layout_files(
    *images: Picture | Collection,
    annotation: str = REF_NAME,
    replace: Mapping[str, bytes] | None = None,
    omit: Iterable[str] = (),
) -> Files:
    """The files of an OCI image layout. *replace* puts other bytes under a digest's name, *omit* leaves a blob out."""
    blobs: dict[str, bytes] = {}
    for one in images:
        blobs.update(one.blobs())
    blobs.update(replace or {})
    for digest in omit:
        del blobs[digest]
    files = [file("oci-layout", LAYOUT), file("index.json", _index_json(images, annotation))]
    files += [directory("blobs"), directory("blobs/sha256")]
    return files + [file("blobs/" + digest.replace(":", "/"), data) for digest, data in sorted(blobs.items())]


def docker_files(*images: Picture, style: str = "podman") -> Files:
    """The files of a docker-archive.

    *style*: `podman` (`<diff>.tar`, `<config>.json`, as podman and skopeo write), `old` (docker save before 25:
    `<id>/layer.tar` with VERSION and json, repeated layers as symlinks), `hybrid` (Docker 25 and later: an OCI layout
    and a manifest.json in one).
    """
    return {"podman": _docker_podman, "old": _docker_old, "hybrid": _docker_hybrid}[style](images)


def _manifest_json(entries: list[tuple[str, Picture, list[str]]]) -> Member:
    documents = [
        {"Config": config, "RepoTags": list(one.names) or None, "Layers": names} for config, one, names in entries
    ]
    return file("manifest.json", dump(documents))


def _unique(files: Files) -> Files:
    return list({member.info.name: member for member in files}.values())


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _docker_podman(images: Sequence[Picture]) -> Files:
    files: Files = []
    entries: list[tuple[str, Picture, list[str]]] = []
    for one in images:
        names = [f"{_hex(part.diff_id)}.tar" for part in one.layers]
        files += [file(name, part.tar) for name, part in zip(names, one.layers, strict=True)]
        files.append(file(f"{_hex(one.config_digest)}.json", one.config))
        entries.append((f"{_hex(one.config_digest)}.json", one, names))
    return [*_unique(files), _manifest_json(entries)]


def _docker_old(images: Sequence[Picture]) -> Files:
    files: Files = []
    entries: list[tuple[str, Picture, list[str]]] = []
    first_place: dict[str, str] = {}
    repositories: dict[str, dict[str, str]] = {}
    for one in images:
        names = []
        for part, chain_id in zip(one.layers, one.chain_ids, strict=True):
            own = _hex(sha256(chain_id.encode()))
            names.append(f"{own}/layer.tar")
            files += [directory(own + "/"), file(f"{own}/VERSION", b"1.0"), file(f"{own}/json", dump({"id": own}))]
            first = first_place.setdefault(part.diff_id, own)
            files.append(file(names[-1], part.tar) if first == own else symlink(names[-1], f"../{first}/layer.tar"))
        for name in one.names:
            repository, _, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = names[-1].partition("/")[0] if names else ""
        files.append(file(f"{_hex(one.config_digest)}.json", one.config))
        entries.append((f"{_hex(one.config_digest)}.json", one, names))
    return [*_unique(files), _manifest_json(entries), file("repositories", dump(repositories))]


def _docker_hybrid(images: Sequence[Picture]) -> Files:
    """Docker 25 and later: layers uncompressed among the blobs, manifest.json pointing at them."""
    plain = [_uncompressed(one) for one in images]
    files = [member for member in layout_files(*plain, annotation=CONTAINERD_NAME) if member.info.name != "oci-layout"]
    entries = []
    for one in plain:
        names = ["blobs/" + part.digest.replace(":", "/") for part in one.layers]
        entries.append(("blobs/" + one.config_digest.replace(":", "/"), one, names))
    return [*files, _manifest_json(entries), file("oci-layout", LAYOUT)]


def _uncompressed(one: Picture) -> Picture:
    layers = tuple(Layer(part.tar, part.tar) for part in one.layers)
    manifest = json.loads(one.manifest)
    manifest["layers"] = [part.descriptor() for part in layers]
    return Picture(layers, one.config, dump(manifest), one.names)


def dir_files(one: Picture) -> Files:
    """The files of a `dir:` directory, as skopeo writes them."""
    files = [file("version", b"Directory Transport Version: 1.1\n"), file("manifest.json", one.manifest)]
    return files + [file(_hex(digest), data) for digest, data in one.blobs().items() if digest != one.digest]


def write_files(path: Path, files: Files) -> Path:
    """Write files to the directory *path*, which is made."""
    path.mkdir(parents=True, exist_ok=True)
    for member in files:
        target = path / member.info.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.info.isdir():
            target.mkdir(exist_ok=True)
        elif member.info.issym():
            target.symlink_to(member.info.linkname)
        else:
            target.write_bytes(member.content)
    return path


def write_archive(path: Path, files: Files, compression: str = "none") -> Path:
    """Write files as one archive, compressed as a whole on request."""
    path.write_bytes(compressed(tar(files), compression))
    return path


def write_layout(path: Path, *images: Picture | Collection, **more: Any) -> Path:
    """Write an OCI layout directory; *more* as for `layout_files`."""
    return write_files(path, layout_files(*images, **more))


def write_oci_archive(path: Path, *images: Picture | Collection, compression: str = "none", **more: Any) -> Path:
    """Write an OCI archive; *more* as for `layout_files`."""
    return write_archive(path, layout_files(*images, **more), compression)


def write_docker_archive(path: Path, *images: Picture, style: str = "podman", compression: str = "none") -> Path:
    """Write a docker-archive; *style* as for `docker_files`."""
    return write_archive(path, docker_files(*images, style=style), compression)


def write_dir(path: Path, one: Picture) -> Path:
    """Write a `dir:` directory."""
    return write_files(path, dir_files(one))


# --- ready-made images ----------------------------------------------------------------------------------------------


def example_layers(compression: str = "gzip") -> list[Layer]:
    """Three layers with one of every kind of entry that any host can make.

    Every layer has entries for the parents of all its entries, as container tools write them.
    """
    return list(_example_layers(compression))


@functools.cache
def _example_layers(compression: str) -> tuple[Layer, ...]:
    root = directory("./", mtime_ns=1_600_000_000_123_456_789)
    etc, data, binaries, gone = directory("etc", 0o750), directory("data", 0o1777, uid=1000, gid=1000), "bin", "gone"
    deep = ["opt/" + "/".join(["a-rather-long-component"] * depth) for depth in range(1, 13)]
    bottom = [
        root,
        etc,
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
        file("etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
        directory(binaries),
        file("bin/tool", b"#!/bin/sh\nexit 0\n", mode=0o4755, uid=0, gid=50),
        hardlink("bin/tool-again", "bin/tool", mode=0o4755, gid=50),
        symlink("bin/absolute", "/etc/passwd"),
        symlink("bin/dangling", "../nowhere"),
        data,
        file("data/old", b"old", mtime_ns=-1_500_000_000),
        file("data/before-the-epoch", b"old", mtime_ns=-1_500_000_000),
        file("data/nano", b"", mtime_ns=1_650_000_000_000_000_001, uid=1000, gid=1000),
        file(b"data/latin-\xe9", b"not utf-8"),
        file("data/流水线", b"utf-8"),
        directory(gone),
        file("gone/a", b"a"),
        file("gone/b", b"b"),
    ]
    middle = [root, data, file("data/old", b"new"), directory(gone), whiteout("gone/a"), directory("opt")]
    middle += [directory(name) for name in deep]
    middle += [
        file(f"{deep[-1]}/file", b"deep" * 3000),
        file("data/big", bytes(range(256)) * 900, xattrs={"user.note": b"kept"}),
    ]
    top = [root, directory(gone), opaque(gone), file("gone/c", b"c"), directory(binaries), whiteout("bin/dangling")]
    top += [etc, file("etc/issue", b"three\n", mode=0o600)]
    return tuple(layer(members, compression) for members in (bottom, middle, top))


def implied_layers(compression: str = "gzip") -> list[Layer]:
    """Two layers, the upper with members in directories that only the lower has entries for.

    In the merged view these directories keep the lower layer's mode, owner and times. Some tools get this wrong.
    """
    lower = [
        directory("./", 0o711, mtime_ns=1_600_000_000_123_456_789),
        directory("data", 0o1777, uid=1000, gid=1000, mtime_ns=1_500_000_000_000_000_005),
        directory("data/private", 0o700, uid=7, gid=8),
        symlink("link", "data/private"),
    ]
    upper = [file("data/private/new", b"new"), file("link/through", b"through"), file("data/other", b"other")]
    return [layer(members, compression) for members in (lower, upper)]


def example(names: Sequence[str] = ("example:1",), compression: str = "gzip", **more: Any) -> Picture:
    """A small image of `example_layers`; *more* as for `image`."""
    config = {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/tool"], "WorkingDir": "/data"}
    return image(*example_layers(compression), names=names, config=config, **more)
