"""Archives as other tools write them, each with one oddity: names, entries, descriptors, configs, layouts.

`ARCHIVES` has a maker for each by name; `python -m support.oddities DIRECTORY` writes them all, to be tried on other
tools. Every image has one layer with one file, which is named after the image's platform, so that a test can see
which of several images was chosen. Nothing here imports arstore.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images
from support.images import CONTAINERD_NAME, OCI_INDEX, OCI_MANIFEST, REF_NAME, Files, Picture, dump, file, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HOST = images.HOST_ARCHITECTURE
OTHER = "arm64" if HOST == "amd64" else "amd64"
THIRD = "s390x"

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
BLAKE3 = "blake3:" + "0" * 64
ATTESTATION = {"os": "unknown", "architecture": "unknown"}

Entry = dict[str, Any]


def picture(architecture: str = HOST, text: str = "", **more: Any) -> Picture:
    """An image of one file; *text* makes images of one platform differ."""
    return images.image(images.layer([file(f"{architecture}{text}", text.encode())]), architecture=architecture, **more)


def entry(one: Any, name: str = "", annotation: str = REF_NAME, **changes: Any) -> Entry:
    """A descriptor of *one* with a name; a member that *changes* sets to None is left out."""
    members = {**one.descriptor(), **({"annotations": {annotation: name}} if name else {}), **changes}
    return {key: value for key, value in members.items() if value is not None}


def thing(content: bytes, media_type: str, **more: Any) -> Entry:
    """A descriptor of *content*."""
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


def layout(
    entries: Iterable[Entry],
    *parts: Any,
    blobs: Iterable[bytes] = (),
    more: Files = (),
    marker: bytes | None = images.LAYOUT,
    omit: Iterable[str] = (),
) -> Files:
    """The files of a layout: `index.json` with *entries*, the blobs of *parts* without *omit*, more blobs and files."""
    found: dict[str, bytes] = {}
    for part in parts:
        found.update(part.blobs())
    found.update({sha256(data): data for data in blobs})
    for digest in omit:
        del found[digest]
    index = dump({"schemaVersion": 2, "manifests": list(entries)})
    files = [] if marker is None else [file("oci-layout", marker)]
    files += [file("index.json", index), *more]
    return files + [file("blobs/" + digest.replace(":", "/"), data) for digest, data in found.items()]


def manifest_json(*items: tuple[str, list[str] | None, list[str]]) -> Files:
    """The `manifest.json` of a docker-archive with these configs, tags and layers."""
    return [file("manifest.json", dump([{"Config": c, "RepoTags": t, "Layers": p} for c, t, p in items]))]


def blob_path(digest: str) -> str:
    """The path of a blob in a layout."""
    return "blobs/" + digest.replace(":", "/")


# --- entries that are not images ------------------------------------------------------------------------------------


def manifest_of(config: Entry, layers: Iterable[Entry], **more: Any) -> bytes:
    """A manifest with any config and layers."""
    members = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": list(layers), **more}
    return dump({key: value for key, value in members.items() if value is not None})


def chart() -> tuple[Entry, list[bytes]]:
    """A Helm chart, as `helm push` and `oras copy` leave it."""
    config, content = b'{"name":"chart"}', b"a chart"
    raw = manifest_of(thing(config, HELM_CONFIG), [thing(content, HELM_CHART)])
    return thing(raw, OCI_MANIFEST), [raw, config, content]


def signature(one: Picture) -> tuple[Entry, list[bytes]]:
    """A signature as `cosign save` leaves it: an image's config, and a layer that is not a layer."""
    payload = dump({"critical": {"image": {"docker-manifest-digest": one.digest}}})
    config = dump(
        {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(payload)]}}
    )
    raw = manifest_of(thing(config, images.OCI_CONFIG), [thing(payload, COSIGN)])
    return thing(raw, OCI_MANIFEST), [raw, config, payload]


def attestation(one: Picture) -> tuple[Entry, list[bytes]]:
    """An attestation as BuildKit adds it to an index."""
    statement = b'{"_type":"https://in-toto.io/Statement/v0.1"}'
    config = dump({**ATTESTATION, "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(statement)]}})
    raw = manifest_of(thing(config, images.OCI_CONFIG), [thing(statement, IN_TOTO)])
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": one.digest}
    return thing(raw, OCI_MANIFEST, platform=ATTESTATION, annotations=notes), [raw, config, statement]


def referrer(one: Picture, **more: Any) -> tuple[Entry, list[bytes]]:
    """An artifact that refers to an image by `subject`, with the empty config."""
    content = b"an sbom"
    subject = {key: value for key, value in one.descriptor().items() if key != "platform"}
    raw = manifest_of(
        thing(b"{}", EMPTY, data="e30="), [thing(content, "text/spdx")], artifactType="text/spdx", subject=subject
    )
    return thing(raw, OCI_MANIFEST, artifactType="text/spdx", **more), [raw, b"{}", content]


def beside(make: Callable[[Picture], tuple[Entry, list[bytes]]], name: str = "") -> Files:
    """An image, and something else at the top of the same layout."""
    one = picture()
    other, blobs = make(one)
    if name:
        other = {**other, "annotations": {**(other.get("annotations") or {}), REF_NAME: name}}
    return layout([entry(one, "app:v1"), other], one, blobs=blobs)


def within(make: Callable[[Picture], tuple[Entry, list[bytes]]]) -> Files:
    """An index of an image for the host, something else, and an image for another platform."""
    one, two = picture(), picture(OTHER)
    other, blobs = make(one)
    whole = images.Collection(
        (one, two), dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(one), other, entry(two)]})
    )
    return layout([entry(whole, "app:v1")], whole, blobs=blobs)


def alone(make: Callable[[Picture], tuple[Entry, list[bytes]]]) -> Files:
    """An archive that contains only something that is not an image."""
    other, blobs = make(picture())
    return layout([other], blobs=blobs)


def inner(
    make: Callable[[Picture], tuple[Entry, list[bytes]]], artifact_type: str | None = None
) -> tuple[Entry, list[bytes]]:
    """An index that contains only something that is not an image."""
    other, blobs = make(picture())
    members = {"schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": artifact_type, "manifests": [other]}
    raw = dump({key: value for key, value in members.items() if value is not None})
    return thing(raw, OCI_INDEX), [raw, *blobs]


def unknown(data: bytes = b"<a/>", media_type: str = "application/xml", **more: Any) -> tuple[Entry, list[bytes]]:
    """Something of a type that no tool reads."""
    return thing(data, media_type, **more), [data]


OTHERS: Mapping[str, Callable[[Picture], tuple[Entry, list[bytes]]]] = {
    "chart": lambda _: chart(),
    "signature": signature,
    "attestation": attestation,
    "referrer": referrer,
    "referrer-with-platform": lambda one: referrer(one, platform={"os": "linux", "architecture": HOST}),
    "xml": lambda _: unknown(),
    "xml-absent": lambda _: (unknown()[0], []),
    "layer": lambda one: (one.layers[0].descriptor(), [one.layers[0].blob]),
    "config": lambda one: (thing(one.config, images.OCI_CONFIG), [one.config]),
    "index-of-charts": lambda _: inner(lambda _: chart()),
    "index-of-nothing": lambda _: unknown(
        dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}), OCI_INDEX
    ),
    "index-with-artifact-type": lambda _: inner(lambda _: chart(), "application/vnd.example"),
    "blake3": lambda _: ({**unknown()[0], "digest": BLAKE3}, []),
    "chart-of-blake3": lambda _: _chart_of_blake3(),
    "no-digest": lambda _: ({key: value for key, value in unknown()[0].items() if key != "digest"}, []),
    "no-size": lambda _: ({key: value for key, value in unknown()[0].items() if key != "size"}, []),
    "negative-size": lambda _: ({**unknown()[0], "size": -1}, []),
    "text-size": lambda _: ({**unknown()[0], "size": "4"}, []),
    "annotations-null": lambda _: ({**unknown()[0], "annotations": None}, []),
    "annotations-of-numbers": lambda _: ({**unknown()[0], "annotations": {"a": 1}}, []),
    "odd-media-type": lambda _: ({**unknown()[0], "mediaType": "no type"}, []),
    "artifact-manifest": lambda _: unknown(
        b'{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}',
        "application/vnd.oci.artifact.manifest.v1+json",
    ),
}
"""Entries of an index besides images; each function returns a descriptor and blobs."""


def _chart_of_blake3() -> tuple[Entry, list[bytes]]:
    config = b"{}"
    raw = manifest_of(thing(config, HELM_CONFIG), [{"mediaType": HELM_CHART, "digest": BLAKE3, "size": 7}])
    return thing(raw, OCI_MANIFEST), [raw, config]


# --- names and platforms --------------------------------------------------------------------------------------------


def platforms(*architectures: str, annotation: str = REF_NAME, said: bool = True, name: str = "app:v1") -> Files:
    """Images of one name at the top, one for each platform; with *said* the descriptor has the platform too."""
    parts = [picture(architecture) for architecture in architectures]
    more = {} if said else {"platform": None}
    return layout([entry(one, name, annotation, **more) for one in parts], *parts)


def one_platform_twice(said: bool = True) -> Files:
    """Two images of one name and one platform."""
    parts = [picture(text="1"), picture(text="2")]
    more = {} if said else {"platform": None}
    return layout([entry(one, "app:v1", **more) for one in parts], *parts)


def one_image_twice() -> Files:
    """One image, listed twice under one name."""
    one = picture()
    return layout([entry(one, "app:v1"), entry(one, "app:v1")], one)


def variants() -> Files:
    """Three variants of one architecture under one name."""
    parts = [picture("arm", text=variant, variant=variant) for variant in ("v5", "v6", "v7")]
    return layout([entry(one, "app:v1") for one in parts], *parts)


def spelt_alike() -> Files:
    """Two images of one name whose platforms are one: arm64 and arm64/v8."""
    parts = [picture("arm64", text="1"), picture("arm64", text="2", variant="v8")]
    return layout([entry(one, "app:v1") for one in parts], *parts)


def names_overlap() -> Files:
    """`app:v1` for two platforms, one of which is `app:v2` too."""
    here, there = picture(), picture(OTHER)
    return layout([entry(here, "app:v1"), entry(there, "app:v1"), entry(here, "app:v2")], here, there)


def index_and_image(member: bool) -> Files:
    """One name for an index and for an image of the host's platform, which may be a *member* of it."""
    one, two = picture(), picture(OTHER)
    whole = images.index(one, two)
    third = one if member else picture(text="2")
    return layout([entry(whole, "app:v1"), entry(third, "app:v1")], whole, third)


def two_spellings() -> Files:
    """One name, given by a tag and a full name for one image, and by a full name for the other."""
    here, there = picture(), picture(OTHER)
    notes = {REF_NAME: "v1", CONTAINERD_NAME: "docker.io/library/app:v1"}
    return layout(
        [{**entry(here), "annotations": notes}, entry(there, "docker.io/library/app:v1", CONTAINERD_NAME)], here, there
    )


def unnamed_platforms() -> Files:
    """Two images for two platforms, without names."""
    here, there = picture(), picture(OTHER)
    return layout([entry(here), entry(there)], here, there)


def cosign_save() -> Files:
    """An image and its signature under one name, as `cosign save` writes them."""
    one = picture()
    other, blobs = signature(one)
    kind = "dev.cosignproject.cosign"
    return layout(
        [
            {**entry(one), "annotations": {"kind": f"{kind}/image", REF_NAME: "site/app:v1"}},
            {**other, "annotations": {"kind": f"{kind}/sigs", REF_NAME: "site/app:v1"}},
        ],
        one,
        blobs=blobs,
    )


def docker_tag_twice(*architectures: str) -> Files:
    """A docker-archive with one tag for several images."""
    parts = [picture(architecture, text=str(place)) for place, architecture in enumerate(architectures)]
    files = [file(f"{one.layers[0].diff_id[7:]}.tar", one.layers[0].tar) for one in parts]
    files += [file(f"{one.config_digest[7:]}.json", one.config) for one in parts]
    rows = [(f"{one.config_digest[7:]}.json", ["app:v1"], [f"{one.layers[0].diff_id[7:]}.tar"]) for one in parts]
    return files + manifest_json(*rows)


# --- layouts and descriptors ----------------------------------------------------------------------------------------


def marked(marker: bytes | None) -> Files:
    """A layout with another `oci-layout`."""
    one = picture()
    return layout([entry(one, "app:v1")], one, marker=marker)


def untyped(inside: bool = False) -> Files:
    """Descriptors without a mediaType, of an image or of an index."""
    one = picture()
    if not inside:
        return layout([entry(one, "app:v1", mediaType=None)], one)
    raw = dump({"schemaVersion": 2, "manifests": [entry(one, mediaType=None)]})
    whole = images.Collection((one,), raw)
    return layout([entry(whole, "app:v1", mediaType=None)], whole)


def untyped_manifest() -> Files:
    """A manifest whose config and layers have no mediaType."""

    def edit(document: dict[str, Any]) -> None:
        for part in (document["config"], *document["layers"]):
            del part["mediaType"]

    one = picture(edit_manifest=edit)
    return layout([entry(one, "app:v1")], one)


def both_kinds() -> Files:
    """A descriptor without a mediaType of a document that reads as a manifest and as an index."""
    one = picture(edit_manifest=lambda document: (document.pop("mediaType"), document.update(manifests=[])))
    return layout([entry(one, "app:v1", mediaType=None)], one)


def inlined(*which: str, wrong: bool = False, keep: bool = False) -> Files:
    """Content in `data` instead of (or, with *keep*, besides) a blob: of `manifest`, `config`, `layer`, `index`."""

    def data(content: bytes) -> str:
        return base64.b64encode(content[:-1] + b"!" if wrong else content).decode()

    def edit(document: dict[str, Any]) -> None:
        if "config" in which:
            document["config"]["data"] = data(config)
        if "layer" in which:
            document["layers"][0]["data"] = data(plain.layers[0].blob)

    plain = picture()
    config = plain.config
    one = picture(edit_manifest=edit)
    gone = (
        []
        if keep
        else [
            {"config": one.config_digest, "layer": one.layers[0].digest, "manifest": one.digest}[name]
            for name in which
            if name != "index"
        ]
    )
    if "index" not in which:
        more = {"data": data(one.manifest)} if "manifest" in which else {}
        return layout([entry(one, "app:v1", **more)], one, omit=gone)
    raw = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(one)]})
    whole = images.Collection((one,), raw)
    return layout([entry(whole, "app:v1", data=data(raw))], whole, omit=gone if keep else [*gone, whole.digest])


def sparse(*absent: str) -> Files:
    """An index for three platforms, without the images of the architectures *absent*."""
    parts = [picture(architecture) for architecture in (HOST, OTHER, THIRD)]
    whole = images.index(*parts)
    gone = [
        digest
        for one, architecture in zip(parts, (HOST, OTHER, THIRD), strict=True)
        if architecture in absent
        for digest in one.blobs()
    ]
    return layout([entry(whole, "app:v1")], whole, omit=gone)


def sparse_layers() -> Files:
    """An index for two platforms; only the manifest and the config of one of them are there."""
    here, there = picture(), picture(OTHER)
    return layout(
        [entry(images.index(here, there), "app:v1")], images.index(here, there), omit=[there.layers[0].digest]
    )


def other_of_blake3() -> Files:
    """An index whose image for another platform has a digest of an unknown algorithm."""
    here = picture()
    there = {**entry(picture(OTHER)), "digest": BLAKE3}
    whole = images.Collection(
        (here,), dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [there, entry(here)]})
    )
    return layout([entry(whole, "app:v1")], whole)


def other_has_layer_of_blake3() -> Files:
    """An index whose image for another platform has a layer with a digest of an unknown algorithm."""
    here = picture()
    there = picture(OTHER, edit_manifest=lambda document: document["layers"][0].update(digest=BLAKE3))
    return layout([entry(images.index(there, here), "app:v1")], images.index(there, here))


def only_other(listed: bool) -> Files:
    """An archive for another platform alone, in an index when *listed*."""
    one = picture(OTHER)
    whole: Any = images.index(one) if listed else one
    return layout([entry(whole, "app:v1")], whole)


# --- docker-archives with layouts -----------------------------------------------------------------------------------


def contradicts() -> Files:
    """`manifest.json` names a layer that the layout's manifest does not have."""
    one = picture()
    liar = picture(edit_manifest=lambda document: document.update(layers=[]))
    row = (blob_path(one.config_digest), ["hello:latest"], [blob_path(one.layers[0].diff_id)])
    plain = one.layers[0].tar
    return layout([entry(liar, "latest")], liar, blobs=[plain], more=manifest_json(row))


def hybrid(in_layout: Iterable[int] = (0, 1), in_table: Iterable[int] = (0, 1), omit_layer: int | None = None) -> Files:
    """An archive of both kinds, with images that only one of its two tables lists."""
    parts = [images.image(images.layer([file(str(number))], "none"), names=[f"app:{number}"]) for number in range(3)]
    rows = [(blob_path(parts[n].config_digest), [f"app:{n}"], [blob_path(parts[n].layers[0].digest)]) for n in in_table]
    listed = [entry(parts[n], f"docker.io/library/app:{n}", CONTAINERD_NAME) for n in in_layout]
    needed = {n: parts[n] for n in (*in_layout, *in_table)}
    gone = [] if omit_layer is None else [parts[omit_layer].layers[0].digest]
    return layout(listed, *needed.values(), more=manifest_json(*rows), omit=gone)


def hybrid_broken_manifest() -> Files:
    """The layout lacks its image's manifest; `manifest.json` has all that it needs."""
    one = images.image(images.layer([file("a")], "none"))
    row = (blob_path(one.config_digest), ["app:v1"], [blob_path(one.layers[0].digest)])
    return layout([entry(one, "v1")], one, more=manifest_json(row), omit=[one.digest])


def hybrid_broken_table() -> Files:
    """`manifest.json` names members that do not exist; the layout is whole."""
    one = picture()
    return layout([entry(one, "app:v1")], one, more=manifest_json(("gone.json", ["app:v1"], ["gone/layer.tar"])))


# --- configs --------------------------------------------------------------------------------------------------------


def configured(process: Any = None, *, layers: bool = True, **document: Any) -> Files:
    """An image whose config has *process* for its `config`, and *document* in place of other members."""

    def edit(members: dict[str, Any]) -> None:
        if process is not None:
            members["config"] = process
        members.update(document)
        for key in [key for key, value in members.items() if value is ...]:
            del members[key]

    made = [images.layer([file("f")])] if layers else []
    one = images.image(*made, names=["app:v1"], edit_config=edit)
    return images.layout_files(one)


CONFIGS: Mapping[str, Callable[[], Files]] = {
    "no-rootfs-no-layers": lambda: configured(layers=False, rootfs=...),
    "empty-rootfs-no-layers": lambda: configured(layers=False, rootfs={}),
    "null-rootfs-no-layers": lambda: configured(layers=False, rootfs=None),
    "null-diff-ids-no-layers": lambda: configured(layers=False, rootfs={"type": "layers", "diff_ids": None}),
    "rootfs-without-type": lambda: configured(rootfs={"diff_ids": picture_diff_ids()}),
    "rootfs-other-type": lambda: configured(rootfs={"type": "other", "diff_ids": picture_diff_ids()}),
    "empty-rootfs-with-layers": lambda: configured(rootfs={}),
    "no-rootfs-with-layers": lambda: configured(rootfs=...),
    "more-diff-ids": lambda: configured(rootfs={"type": "layers", "diff_ids": picture_diff_ids() * 2}),
    "config-missing": lambda: configured(config=...),
    "config-null": lambda: configured(config=None),
    "config-list": lambda: configured(config=[]),
    "env-odd": lambda: configured({"Env": ["PATH=/bin", "NAME_ALONE", "", "=x", "A=1", "A=2"]}),
    "env-null": lambda: configured({"Env": None}),
    "env-of-null": lambda: configured({"Env": [None, "A=1"]}),
    "env-of-number": lambda: configured({"Env": [1, "A=1"]}),
    "env-text": lambda: configured({"Env": "A=1"}),
    "env-map": lambda: configured({"Env": {"A": "1"}}),
    "env-nul": lambda: configured({"Env": ["A=1\0B"]}),
    "cmd-text": lambda: configured({"Cmd": "/bin/sh"}),
    "cmd-null": lambda: configured({"Cmd": None, "Entrypoint": None}),
    "cmd-of-null": lambda: configured({"Cmd": ["a", None]}),
    "entrypoint-empty": lambda: configured({"Entrypoint": [""], "Cmd": []}),
    "labels-null": lambda: configured({"Labels": None}),
    "labels-of-null": lambda: configured({"Labels": {"a": None, "b": "c"}}),
    "labels-of-number": lambda: configured({"Labels": {"a": 1, "b": "c"}}),
    "labels-list": lambda: configured({"Labels": ["a=b"]}),
    "ports-odd": lambda: configured({"ExposedPorts": {"80": {}, "x/y": {}, "": {}}}),
    "ports-list": lambda: configured({"ExposedPorts": ["80/tcp"]}),
    "ports-null-values": lambda: configured({"ExposedPorts": {"80/tcp": None}}),
    "volumes-list": lambda: configured({"Volumes": ["/data"]}),
    "volumes-null-values": lambda: configured({"Volumes": {"/data": None}}),
    "volumes-odd": lambda: configured({"Volumes": {"": {}, "relative": {}, "/": {}}}),
    "user-number": lambda: configured({"User": 1000}),
    "user-odd": lambda: configured({"User": "no such:user"}),
    "workdir-relative": lambda: configured({"WorkingDir": "a/b"}),
    "workdir-number": lambda: configured({"WorkingDir": 1}),
    "stop-signal-odd": lambda: configured({"StopSignal": "NOSUCH"}),
    "stop-signal-number": lambda: configured({"StopSignal": 15}),
    "healthcheck-odd": lambda: configured({"Healthcheck": {"Test": "x", "Interval": "3s"}}),
    "healthcheck-list": lambda: configured({"Healthcheck": []}),
    "shell-text": lambda: configured({"Shell": "/bin/sh"}),
    "args-escaped": lambda: configured({"ArgsEscaped": "true"}),
    "unknown-fields": lambda: configured(
        {"OnBuild": None, "Strange": {"a": [1]}}, strange=[1], container_config={"Cmd": 3}
    ),
    "letter-case": lambda: configured({"env": ["A=1"], "CMD": ["x"]}),
    "letter-case-top": lambda: configured(Config={}, OS="linux"),
    "history-short": lambda: configured(history=[]),
    "history-long": lambda: configured(history=[{}] * 5),
    "history-null": lambda: configured(history=None),
    "history-of-null": lambda: configured(history=[None]),
    "history-text": lambda: configured(history="x"),
    "history-odd": lambda: configured(history=[{"created": 1, "empty_layer": "yes"}]),
    "created-odd": lambda: configured(created="yesterday"),
    "created-empty": lambda: configured(created=""),
    "created-number": lambda: configured(created=1700000000),
    "created-null": lambda: configured(created=None),
    "author-number": lambda: configured(author=1),
    "architecture-missing": lambda: configured(architecture=...),
    "os-missing": lambda: configured(os=...),
    "os-number": lambda: configured(os=1),
    "platform-empty": lambda: configured(architecture="", os=""),
    "architecture-odd": lambda: configured(architecture="no such thing"),
    "os-features": lambda: configured(**{"os.features": ["a"], "os.version": "1"}),
    "os-features-text": lambda: configured(**{"os.features": "a"}),
    "variant-number": lambda: configured(variant=8),
}
"""Odd configs, by their oddity."""


def picture_diff_ids() -> list[str]:
    """The diff IDs of the image that `configured` makes."""
    return [images.layer([file("f")]).diff_id]


ARCHIVES: dict[str, Callable[[], Files]] = {
    "name-two-platforms": lambda: platforms(HOST, OTHER),
    "name-two-platforms-reversed": lambda: platforms(OTHER, HOST),
    "name-three-platforms": lambda: platforms(THIRD, OTHER, HOST),
    "name-other-platforms": lambda: platforms(OTHER, THIRD),
    "name-platforms-unsaid": lambda: platforms(HOST, OTHER, said=False),
    "name-platforms-containerd": lambda: platforms(
        OTHER, HOST, annotation=CONTAINERD_NAME, name="docker.io/library/app:v1"
    ),
    "name-platforms-tag": lambda: platforms(OTHER, HOST, name="v1"),
    "name-one-platform-twice": one_platform_twice,
    "name-one-platform-twice-unsaid": lambda: one_platform_twice(said=False),
    "name-one-image-twice": one_image_twice,
    "name-variants": variants,
    "name-spelt-alike": spelt_alike,
    "names-overlap": names_overlap,
    "name-index-and-member": lambda: index_and_image(member=True),
    "name-index-and-other": lambda: index_and_image(member=False),
    "name-two-spellings": two_spellings,
    "unnamed-platforms": unnamed_platforms,
    "cosign-save": cosign_save,
    "docker-tag-two-platforms": lambda: docker_tag_twice(HOST, OTHER),
    "docker-tag-one-platform": lambda: docker_tag_twice(HOST, HOST),
    **{f"beside-{name}": (lambda make=make: beside(make)) for name, make in OTHERS.items()},
    **{f"beside-named-{name}": (lambda make=make: beside(make, "site/thing:1")) for name, make in OTHERS.items()},
    **{f"within-{name}": (lambda make=make: within(make)) for name, make in OTHERS.items()},
    **{f"alone-{name}": (lambda make=make: alone(make)) for name, make in OTHERS.items()},
    "layout-no-marker": lambda: marked(None),
    "layout-marker-garbage": lambda: marked(b"garbage"),
    "layout-marker-empty": lambda: marked(b""),
    "layout-marker-list": lambda: marked(b"[]"),
    "layout-marker-no-version": lambda: marked(b"{}"),
    "layout-marker-0": lambda: marked(b'{"imageLayoutVersion":"0.9"}'),
    "layout-marker-1.1": lambda: marked(b'{"imageLayoutVersion":"1.1.0"}'),
    "layout-marker-2": lambda: marked(b'{"imageLayoutVersion":"2.0.0"}'),
    "layout-contradicts": contradicts,
    "hybrid": hybrid,
    "hybrid-more-in-layout": lambda: hybrid((0, 1, 2), (0,)),
    "hybrid-more-in-table": lambda: hybrid((0,), (0, 1, 2)),
    "hybrid-disjoint": lambda: hybrid((0,), (1,)),
    "hybrid-layer-absent": lambda: hybrid(omit_layer=1),
    "hybrid-no-manifest": hybrid_broken_manifest,
    "hybrid-bad-table": hybrid_broken_table,
    "only-other-image": lambda: only_other(listed=False),
    "only-other-index": lambda: only_other(listed=True),
    "untyped-image": untyped,
    "untyped-index": lambda: untyped(inside=True),
    "untyped-parts": untyped_manifest,
    "untyped-both-kinds": both_kinds,
    "inlined-manifest": lambda: inlined("manifest"),
    "inlined-config": lambda: inlined("config"),
    "inlined-layer": lambda: inlined("layer"),
    "inlined-all": lambda: inlined("manifest", "config", "layer"),
    "inlined-index": lambda: inlined("index", "config"),
    "inlined-kept": lambda: inlined("manifest", "config", "layer", keep=True),
    "inlined-wrong": lambda: inlined("config", wrong=True),
    "inlined-wrong-kept": lambda: inlined("manifest", "config", "layer", wrong=True, keep=True),
    "sparse-others": lambda: sparse(OTHER, THIRD),
    "sparse-host": lambda: sparse(HOST),
    "sparse-all": lambda: sparse(HOST, OTHER, THIRD),
    "sparse-layers": sparse_layers,
    "other-of-blake3": other_of_blake3,
    "other-has-layer-of-blake3": other_has_layer_of_blake3,
    **{f"config-{name}": make for name, make in CONFIGS.items()},
}  # fmt: skip
"""Every archive by name."""


def main() -> None:
    """Write all archives into the directory that the command line names."""
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for name, make in ARCHIVES.items():
        images.write_archive(place / f"{name}.tar", make())


if __name__ == "__main__":
    main()
