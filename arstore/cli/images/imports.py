"""`import`: bring images from files, streams and registries into the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    SOURCE_ERRORS,
    command,
    exit_statuses,
    json_option,
    limit_option,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.images.encryption import KEY_ERRORS, DecryptionWords, decryption_keys, decryption_option
from arstore.cli.images.referrers import REFERRERS, ReferrersWords, wants_referrers
from arstore.cli.parameter import ANY, Choice, Range, argument, option
from arstore.cli.registries.options import PREFIX, AccessWords, registry_access, registry_options
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.trust.rules import POLICY_ERRORS, PolicyWords, policy_options, policy_rules
from arstore.trees.forms import AUTO, FORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar, Unpack

    from arstore.cli.session import Session
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.tar.limits import Limits
    from arstore.transport.copy import ImportOptions
    from arstore.transport.root_tar import RootTarOptions
    from arstore.transport.skipped import SkippedTop

    F = TypeVar("F", bound="Callable[..., Any]")


class ImportWords(AccessWords, DecryptionWords, PolicyWords, ReferrersWords):
    """The options of `import` and `pull` as they were typed."""

    name: str
    platform: str | None
    all_platforms: bool
    tree: str | None
    limit: tuple[str, ...]
    strict_xattrs: bool


def import_options(function: F) -> F:
    """Add the options that `import` and `pull` share to a command."""
    for one in (
        option(
            "--all-platforms",
            is_flag=True,
            help="Store the images of an index for all platforms, and the index itself.",
        ),
        *REFERRERS,
        option(
            "--tree",
            type=Choice((AUTO, *FORMS)),
            help="How to keep layers for mounting: erofs is an index over the tar, directory is extracted files; by "
            "default auto, the first that this host can mount.",
        ),
        limit_option,
        strict_xattrs_option,
        decryption_option,
        policy_options,
        registry_options,
        progress_option,
        json_option,
    )[::-1]:
        function = one(function)
    return function


_ONE_NAME = "use --name to give the image a name, or --rootfs if the source is the tar of a root file system"


@exit_statuses(*SOURCE_ERRORS, *KEY_ERRORS, *POLICY_ERRORS)
@command("import")
@argument("source")
@argument("root_name", metavar="[NAME[:TAG]]", required=False)
@option("--rootfs", is_flag=True, help="Make an image called NAME from SOURCE, the tar of a root file system.")
@option(
    "-c",
    "--change",
    "changes",
    metavar="TEXT",
    multiple=True,
    help="With --rootfs: apply a Dockerfile instruction to the config; repeatable.",
)
@option(
    "-m",
    "--message",
    metavar="TEXT",
    type=ANY,
    default="",
    help="With --rootfs: set the comment in the image's history.",
)
@option(
    "--timestamp",
    type=Range(int, min=0),
    metavar="SECONDS",
    help="With --rootfs: set the creation time, in seconds since 1970.",
)
@option("--name", metavar="NAME[:TAG]", default="", help="Give the image this name instead of the names in the source.")
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Store the images for this platform; by default the host's.")
@import_options
def import_(
    session: Session,
    source: str,
    root_name: str | None,
    rootfs: bool,
    changes: tuple[str, ...],
    message: str,
    timestamp: int | None,
    **words: Unpack[ImportWords],
) -> None:
    """Bring images into the store.

    SOURCE is a path, - for a stream on stdin, or TRANSPORT:REFERENCE, which is one of oci:PATH[:NAME],
    oci-archive:PATH[:NAME], docker-archive:PATH[:NAME], dir:PATH or docker://NAME[:TAG|@DIGEST]. The format of a path
    is detected from its content: an OCI archive, an OCI layout directory, a docker-archive or a dir: directory.
    Archives may be compressed with gzip, zstd, xz or bzip2. All images of the source are stored, with all their names;
    if anything is wrong, none is. docker:// is an image in a registry, as for `arstore pull`.

    Several images with the same name are treated as an index of that name: only the image for this host's platform, or
    for --platform, is stored. With --all-platforms all of them are stored, and the name is given to an index of them.
    Signatures, attestations and SBOMs of these images are stored too; from a registry, only with --referrers. Charts
    and other entries that are not images are skipped.

    With --rootfs, SOURCE is the tar of a root file system, a path or -, optionally compressed. It becomes an image with
    one layer, as with `docker import`. The image is for --platform, or else for this host's platform. --change takes
    the same instructions as `arstore commit`. The layer is the file, unchanged, except that xz and bzip2 are replaced
    by gzip. The creation time is --timestamp, or else SOURCE_DATE_EPOCH, or else now.

    Prints a line for each image: its digest and its names. Skipped entries are printed to stderr, and so is the number
    of extended attributes that could not be kept.

    Examples:

    arstore import app.tar

    tar -C ROOT -cz . | arstore import --rootfs - base:1 -c 'CMD ["/bin/sh"]'
    """
    if rootfs:
        from arstore.cli.images.rootfs import root_tar_options

        if words["all_platforms"]:
            raise errors.UsageError("--all-platforms", "a root file system is for one platform", "use --platform")
        if words["decryption_key"]:
            raise errors.UsageError("--decryption-key", "a root file system is not encrypted", "leave it out")
        if root_name is not None and words["name"]:
            raise errors.UsageError(root_name, "and --name exclude each other", "give one name")
        name, tree, limits = root_name or words["name"], words["tree"] or "", _limits(session, words)
        options = root_tar_options(name, words["platform"], changes, message, timestamp, tree, limits)
        policy_rules(session, words).refuse_unsigned("tarball", source)
        _bring_root(session, source, options)
        return
    if root_name is not None or changes or message or timestamp is not None:
        if root_name is not None:
            raise errors.UsageError(root_name, "is one argument too many", _ONE_NAME)
        what = "--change" if changes else "--message" if message else "--timestamp"
        raise errors.UsageError(what, "needs --rootfs")
    bring(session, (source,), words)


def _bring_root(session: Session, source: str, options: RootTarOptions) -> None:
    from arstore.transport.root_tar import import_root_tar
    from arstore.transport.skipped import SkippedTop

    refuse_terminal(source)
    session.tell_confinement()
    with session.store(create=True) as store:
        _check_tree(store, options.tree)
        _tell_of_trees(session, store)
        with session.progress() as progress:
            taken = [import_root_tar(store, source, options, progress)]
        session.done = in_the_store([image.digest for image in taken])
    render_taken(session, store, taken, SkippedTop())


def _limits(session: Session, words: ImportWords) -> Limits:
    return session.limits(words["limit"], strict_xattrs=words["strict_xattrs"])


def bring(session: Session, sources: Sequence[str], words: ImportWords) -> None:
    """Import the first of *sources* that exists, as `import` and `pull` do, and print its images.

    Raises UsageError, SourceError, RegistryError, StoreError; if no source exists, the error of the last one.
    """
    from arstore.transport.skipped import SkippedTop

    platform, all_platforms = words["platform"], words["all_platforms"]
    for source in sources:
        refuse_terminal(source)
    if platform is not None and all_platforms:
        raise errors.UsageError("--platform", "and --all-platforms exclude each other")
    session.tell_confinement()
    with session.store(create=True) as store:
        limits = _limits(session, words)
        options = _options(session, store, words, limits, sources)
        _tell_of_trees(session, store)
        skipped = SkippedTop()
        with session.progress() as progress:
            taken = import_first(store, sources, options, progress, skipped)
        session.done = in_the_store([image.digest for image in taken])
        indexes = _indexes(store, taken) if all_platforms else []
    for line in skipped.lines():
        session.note(line)
    render_taken(session, store, taken, skipped, indexes)


def import_first(
    store: Store, sources: Sequence[str], options: ImportOptions, progress: Progress, skipped: SkippedTop
) -> list[TakenImage]:
    """Import the first of *sources* that exists.

    Raises the error of the last one, whose text also quotes those of the earlier ones.
    """
    from arstore.transport.copy import import_reference

    *others, last = sources
    failed: list[str] = []
    for source in others:
        try:
            return import_reference(store, source, options, progress, skipped)
        except (errors.RegistryNotFoundError, errors.RegistryAccessError, errors.RegistryUnreachableError) as error:
            failed.append(str(error))
    try:
        return import_reference(store, last, options, progress, skipped)
    except (errors.RegistryNotFoundError, errors.RegistryAccessError, errors.RegistryUnreachableError) as error:
        if not failed:
            raise
        why = f"{error.why}; the registries tried before: {'; '.join(failed)}"
        raise type(error)(error.what, why, error.hint) from error


def in_the_store(digests: Sequence[str]) -> str:
    """Return what to report about imported images if their digests cannot be printed."""
    if len(digests) == 1:
        return f"the image {digests[0]} is in the store"
    return f"{len(digests)} images are in the store; `arstore images` lists them"


def refuse_terminal(source: str) -> None:
    """Raise UsageError if *source* means standard input and that is a terminal."""
    from arstore.transport.location import STREAM, parse_location

    if parse_location(source).path == STREAM and os.isatty(0):
        raise errors.UsageError(source, "standard input is a terminal", "pipe an archive into it, or name a file")


def _options(
    session: Session, store: Store, words: ImportWords, limits: Limits, sources: Sequence[str]
) -> ImportOptions:
    from arstore.transport.selection.options import ImportOptions, Wanted

    tree, platform = words["tree"] or "", words["platform"]
    _check_tree(store, tree)
    known = None
    if platform is not None:
        from arstore.oci.platform import parse

        known = parse(platform)
    wanted = Wanted(known, words["all_platforms"], wants_referrers(words))
    in_registry = any(one.startswith(PREFIX) for one in sources)
    registries = registry_access(session, words) if in_registry else None
    rules, keys = policy_rules(session, words), decryption_keys(session, words)
    return ImportOptions(words["name"], wanted, tree, limits=limits, registries=registries, keys=keys, rules=rules)


def _check_tree(store: Store, tree: str) -> None:
    if tree not in {"", AUTO} and tree not in store.forms:
        known = ", ".join(sorted(store.forms))
        raise errors.UsageError(f"--tree {tree}", "this arstore does not have that tree format", f"it has: {known}")


def _tell_of_trees(session: Session, store: Store) -> None:
    if not store.makes_trees:
        session.note("no layer trees are built, because this user lacks the privileges; `arstore unpack` needs none")


def _indexes(store: Store, taken: Sequence[TakenImage]) -> list[StoredImage]:
    """Return the indexes of the store that list any of these images."""
    digests = {image.digest for image in taken}
    return [image for image in store.images() if not digests.isdisjoint(image.record.manifests)]


def render_taken(
    session: Session,
    store: Store,
    taken: Sequence[TakenImage],
    skipped: SkippedTop,
    indexes: Sequence[StoredImage] = (),
) -> None:
    """Print the imported images: a line for each index and image, or one JSON document."""
    if session.json:
        document: dict[str, Any] = {
            "images": [image_document(image) for image in taken],
            "skipped": skipped.documents(),
            "skipped_count": skipped.count,
            **besides(store),
        }
        if indexes:
            document["indexes"] = [
                {"digest": i.digest, "names": list(i.names), "manifests": list(i.record.manifests)} for i in indexes
            ]
        write_json(document)
        return
    for index in indexes:
        write_line(index.digest, *index.names)
    for image in taken:
        write_line(image.digest, *image.names)


def besides(store: Store) -> dict[str, Any]:
    """Return side effects of an import, as members of a JSON document.

    `moved` has the names that belonged to another image before, `cleared` the number of bytes that were freed because
    killed commands had left them.
    """
    return {"moved": [moved._asdict() for moved in store.moved], "cleared": store.cleared}


def image_document(image: TakenImage) -> dict[str, Any]:
    """Return an imported image for JSON output.

    Members: `digest`, `config`, `names`, `layers` (bottom first), `platform`; `attachments`, the digests of the
    attachments that were imported with it; `dropped_xattrs`, the number of extended attributes that could not be kept.
    """
    return {
        "digest": image.digest,
        "config": image.config,
        "names": list(image.names),
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "chain_id": layer.chain_id,
                "size": layer.size,
                "compressed_size": layer.compressed_size,
                "reused": layer.reused,
            }
            for layer in image.layers
        ],
        "platform": image.platform,
        "attachments": list(image.attachments),
        "dropped_xattrs": sum(layer.dropped for layer in image.layers),
    }
