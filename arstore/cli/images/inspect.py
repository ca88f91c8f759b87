"""`inspect` and `history`: the details of images, and of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.api.meaning import container_meant, image_meant
from arstore.cli.command import (
    IMAGE_ERRORS,
    REGISTRY_ERRORS,
    command,
    exit_statuses,
    json_option,
)
from arstore.cli.images.images import image_summary
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.registries.options import PREFIX, registry_access, registry_options
from arstore.cli.terminal.listing import FORMAT_HELP, Format, Item, Table
from arstore.cli.terminal.output import (
    human_size,
    short_digest,
    short_time,
    write_indented,
    write_json,
    write_shown,
    write_table,
)
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Any, Unpack

    from arstore.api.values.images import HistoryStep
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.oci.config import ImageConfig
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage

KINDS = ("all", "container", "image")

DOCUMENT_ERRORS = (
    *IMAGE_ERRORS,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.PlatformError,
    errors.LimitError,
)


@exit_statuses(*DOCUMENT_ERRORS, errors.DigestMismatchError, *REGISTRY_ERRORS)
@command("inspect")
@argument("names", metavar="IMAGE|CONTAINER...", nargs=-1, required=True)
@option(
    "--config",
    "part",
    flag_value="config",
    help="Print the image's config, byte for byte; on a terminal, control characters are escaped.",
)
@option("--raw", "part", flag_value="raw", help="Print the image's manifest, or the index, in the same way.")
@option("-t", "--type", "kind", type=Choice(KINDS), default="all", show_default=True, help="What the names mean.")
@option("-f", "--format", "template", metavar="FORMAT", help=FORMAT_HELP)
@option("-s", "--size", "sizes", is_flag=True, help="Also show the size of what a container has written.")
@registry_options
@json_option
def inspect(
    session: Session,
    names: tuple[str, ...],
    part: str | None,
    kind: str,
    template: str | None,
    sizes: bool,
    **access: Unpack[AccessWords],
) -> None:
    """Show the details of images and containers.

    An image is a name, a digest, or a unique prefix of a digest with at least four digits. docker://NAME[:TAG|@DIGEST]
    is an image in a registry; none of its layers is read. For an index, the details are those of its image for this
    host, but --raw prints the index itself. A container is a name, an id, or the unique start of an id. A word that
    means both means the container; see --type.

    Prints JSON, with or without --json: one object, or a list for several names. A container's document has its
    environment, which may contain secrets. In Go templates, and with --format json, which always prints a list, the
    fields have podman's names.

    Examples:

    arstore inspect app:1

    arstore inspect --format '{{.State.Status}} {{.State.ExitCode}}' web

    arstore inspect --format '{.config.env[*]}' web
    """
    if part is not None or any(name.startswith(PREFIX) for name in names):
        if len(names) > 1 or template is not None or kind == "container":
            raise UsageError("inspect", "--config, --raw and docker:// are for one image, without --format and --type")
        _inspect_one(session, names[0], part, access)
        return
    show(session, names, kind, template, sizes=sizes)


def show(session: Session, names: tuple[str, ...], kind: str, template: str | None, *, sizes: bool) -> None:
    """Print the documents of images and containers. Raises the errors of `inspect`."""
    if session.json and template is not None:
        raise UsageError("inspect", "--json and --format exclude each other")
    chosen = None if template is None else Format(template)
    with session.store(reads=True) as store:
        items = [_item(store, name, kind, template is not None, sizes=sizes) for name in names]
    if chosen is not None:
        chosen.write(items, Table(()))
        return
    documents = [item.document for item in items]
    (write_json if session.json else write_indented)(documents if len(documents) > 1 else documents[0])


def _item(store: Store, name: str, kind: str, has_format: bool, *, sizes: bool) -> Item:
    container = _container(store, name, kind)
    if container is not None:
        from arstore.cli.containers.inspection.container_documents import document, fields
        from arstore.runtime.inspection.about import About

        about = About(store, container)
        size = about.written() if sizes else None
        return Item(container.id, (), document(about, size), fields(about, size) if has_format else {})
    found = _image(store, name, kind)
    config = store.config(found)
    if not has_format:
        return Item(found.digest, (), _details(store, found, config))
    from arstore.cli.images.image_fields import image_fields

    return Item(found.digest, (), _details(store, found, config), image_fields(found, config, store.chain(found)))


def _container(store: Store, name: str, kind: str) -> Container | None:
    if kind == "image":
        return None
    return store.containers.find(name) if kind == "container" else container_meant(store, name)


def _image(store: Store, name: str, kind: str) -> StoredImage:
    return store.find_image(name) if kind == "image" else image_meant(store, name)


def _inspect_one(session: Session, image: str, part: str | None, access: AccessWords) -> None:
    """Print a document of one image byte for byte, or the details of one in a registry."""
    if image.startswith(PREFIX):
        _inspect_remote(session, image, part, access)
        return
    with session.store(reads=True) as store:
        if part == "raw":
            write_shown(store.read_blob(store.find(image).digest))
        else:
            write_shown(store.config(store.find_image(image)).raw)


def _inspect_remote(session: Session, image: str, part: str | None, access: AccessWords) -> None:
    from arstore.cli.registries.inspect import remote_image, remote_manifest

    options = registry_access(session, access)
    if part == "raw":
        write_shown(remote_manifest(image, options))
        return
    found = remote_image(image, options)
    if part == "config":
        write_shown(found.config.raw)
        return
    (write_json if session.json else write_indented)(found.summary | _of_config(found.config))


def _details(store: Store, image: StoredImage, config: ImageConfig) -> dict[str, Any]:
    record = image.record
    chain = store.chain(image)
    with store.graph_of(image).read() as snapshot:
        lent = {digest: away for digest in record.layers if (away := snapshot.lent(digest)) is not None}
        own = {digest: blob for digest in record.layers if (blob := snapshot.blob(digest)) is not None}
    sizes = {digest: one.size for digest, one in lent.items()} | {digest: one.size for digest, one in own.items()}
    found = image_summary(image)
    found["top"] = record.top
    found["layers"] = [
        {
            "digest": digest,
            "diff_id": layer.diff_id,
            "chain_id": chain_id,
            "size": layer.size,
            "compressed_size": sizes.get(digest),
            **({"lent_by": lent[digest].place} if digest in lent else {}),
        }
        for digest, (chain_id, layer) in zip(record.layers, chain, strict=False)
    ]
    return found | _of_config(config)


def _of_config(config: ImageConfig) -> dict[str, Any]:
    """Return the fields of a config, without its layers, for JSON output."""
    return {
        "author": config.author,
        "user": config.user,
        "env": list(config.env),
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "working_dir": config.working_dir,
        "volumes": list(config.volumes),
        "exposed_ports": list(config.exposed_ports),
        "stop_signal": config.stop_signal,
        "labels": dict(config.labels),
        "healthcheck": None if config.healthcheck is None else dict(config.healthcheck),
        "left_out": list(config.left_out),
    }


@exit_statuses(*DOCUMENT_ERRORS)
@command("history")
@argument("image")
@option("-s", "--sizes", is_flag=True, help="Show more sizes of each layer.")
@json_option
def history(session: Session, image: str, sizes: bool) -> None:
    """Show how an image was built.

    The latest step comes first. SIZE is the size of the layer's uncompressed tar; a step without a layer has -.

    With --sizes, BLOB is the size of the layer as it is stored, compressed or not, FILES the bytes of the files in it,
    and ON DISK the disk space that its blob and its tree take together. Other images may share them.

    Example:

    arstore history app:1
    """
    with session.library(reads=True) as store:
        steps = store.history(image, sizes=sizes)
    if session.json:
        write_json([_step_document(step) for step in steps])
        return
    if sizes:
        from arstore.cli.images.layer_sizes import HEAD, cells

        write_table(("CREATED", "LAYER", "SIZE>", *HEAD, "CREATED BY"), [_step_cells(one, cells(one)) for one in steps])
        return
    head = ("CREATED", "LAYER", "SIZE>", "CREATED BY")
    write_table(head, [_step_cells(step) for step in steps])


def _step_document(step: HistoryStep) -> dict[str, Any]:
    document = {
        "created": step.created,
        "created_by": step.created_by,
        "author": step.author,
        "comment": step.comment,
        "empty_layer": step.empty_layer,
        "digest": step.digest,
        "diff_id": step.diff_id,
        "size": step.size,
    }
    if step.sizes is None:
        return document
    sizes = step.sizes
    named = {"blob": sizes.blob, "files": sizes.files, "entries": sizes.entries, "on_disk": sizes.on_disk}
    return {**document, "sizes": named}


def _step_cells(step: HistoryStep, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    layer = step.diff_id
    size = human_size(step.size) if layer else "-"
    how = step.created_by or step.comment
    return short_time(step.created), short_digest(layer) if layer else "-", size, *more, how
