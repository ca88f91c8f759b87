"""`import`: images from files and streams into the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

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
    from typing import Unpack

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
    tree: str
    limit: tuple[str, ...]
    strict_xattrs: bool


def import_options(function: F) -> F:
    """Give a command the options of `import` and `pull` that read alike in both."""
    for one in (
        option("--all-platforms", is_flag=True, help="Take the images of an index for all platforms, and the index."),
        *REFERRERS,
        option("--tree", type=Choice((AUTO, *FORMS)), default=AUTO, show_default=True, help="The form of new trees."),
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


@exit_statuses(*SOURCE_ERRORS, *KEY_ERRORS, *POLICY_ERRORS)
@command("import")
@argument("source")
@argument("root_name", metavar="[NAME[:TAG]]", required=False)
@option("--rootfs", is_flag=True, help="SOURCE is a tar of a root file system; make an image called NAME of it.")
@option("-c", "--change", "changes", metavar="TEXT", multiple=True, help="With --rootfs: a change of the config.")
@option("-m", "--message", metavar="TEXT", type=ANY, default="", help="With --rootfs: a comment for the history.")
@option(
    "--timestamp", type=Range(int, min=0), metavar="SECONDS", help="With --rootfs: when the image was made, since 1970."
)
@option("--name", metavar="NAME[:TAG]", default="", help="The image's name, in place of those it brings.")
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Take images for this platform; by default the host's.")
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

    SOURCE is a path, - for a stream on stdin, or TRANSPORT:REFERENCE with one of oci:PATH[:NAME],
    oci-archive:PATH[:NAME], docker-archive:PATH[:NAME], dir:PATH, docker://NAME[:TAG|@DIGEST]. What a path holds is
    told from its content: an OCI archive or layout directory, a docker-archive or a dir:, perhaps compressed with gzip,
    zstd, xz or bzip2. All its images come in with all their names, or, when anything is wrong, none of them. docker://
    is an image in a registry, as `arstore pull` takes it.

    Several images with one name are treated as an index of that name: the image for the host's platform is taken, or
    the one for --platform. With --all-platforms all are taken, and the name is given to an index of them. Signatures,
    attestations and SBOMs of these images come along; from a registry, only with --referrers. Charts and other things
    that are not images are skipped.

    With --rootfs, SOURCE is a plain tar of a root file system, a path or -, perhaps compressed. An image of one layer
    is made of it, as by `docker import`: for --platform or the host, with the instructions of --change as `arstore
    commit` takes them. The layer is the file as it is; one in xz or bzip2 is compressed with gzip instead.
    The time of creation is that of --timestamp, or else SOURCE_DATE_EPOCH. Example:

    tar -C ROOT -cz . | arstore import --rootfs - base:1 --change 'CMD ["/bin/sh"]'

    Prints a line for each image: its digest and its names. What was skipped is printed to stderr. Extended attributes
    that cannot be kept are left out; their number is printed there too.
    """
    if rootfs:
        from arstore.cli.images.rootfs import root_tar_options

        if words["all_platforms"]:
            raise errors.UsageError("--all-platforms", "a root file system is of one platform", "--platform says which")
        if words["decryption_key"]:
            raise errors.UsageError("--decryption-key", "a root file system is not encrypted", "leave it out")
        if root_name is not None and words["name"]:
            raise errors.UsageError(root_name, "and --name exclude each other", "give one name")
        name, tree, limits = root_name or words["name"], words["tree"], _limits(words)
        options = root_tar_options(name, words["platform"], changes, message, timestamp, tree, limits)
        policy_rules(session, words).refuse_unsigned("tarball", source)
        _bring_root(session, source, options)
        return
    if root_name is not None or changes or message or timestamp is not None:
        if root_name is not None:
            raise errors.UsageError(root_name, "is one argument too many", "--name gives the image a name")
        what = "--change" if changes else "--message" if message else "--timestamp"
        raise errors.UsageError(what, "is for --rootfs only")
    bring(session, (source,), words)


def _bring_root(session: Session, source: str, options: RootTarOptions) -> None:
    from arstore.transport.root_tar import import_root_tar
    from arstore.transport.skipped import SkippedTop

    refuse_terminal(source)
    session.tell_confinement()
    with session.store(create=True) as store:
        _check_tree(store, options.tree)
        _tell_of_trees(session, store, options.tree)
        with session.progress() as progress:
            taken = [import_root_tar(store, source, options, progress)]
        session.done = in_the_store([image.digest for image in taken])
    render_taken(session, store, taken, SkippedTop())


def _limits(words: ImportWords) -> Limits:
    from arstore.tar.limits import Limits, changed

    return changed(words["limit"], Limits(strict_xattrs=words["strict_xattrs"]))


def bring(session: Session, sources: Sequence[str], words: ImportWords) -> None:
    """Import the first of *sources* that is there, as `import` and `pull` do, and print what came.

    Raises the last one's error.
    """
    from arstore.transport.skipped import SkippedTop

    platform, all_platforms = words["platform"], words["all_platforms"]
    for source in sources:
        refuse_terminal(source)
    if platform is not None and all_platforms:
        raise errors.UsageError("--platform", "and --all-platforms exclude each other")
    session.tell_confinement()
    with session.store(create=True) as store:
        limits = _limits(words)
        options = _options(session, store, words, limits, sources)
        _tell_of_trees(session, store, options.tree)
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
    """Import the first of *sources* that is there. Raises the last one's error, with those before it in its text."""
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
        why = f"{error.why}; the registries before it: {'; '.join(failed)}"
        raise type(error)(error.what, why, error.hint) from error


def in_the_store(digests: Sequence[str]) -> str:
    """What to say of images that came in when their digests cannot be printed."""
    if len(digests) == 1:
        return f"the image {digests[0]} is in the store"
    return f"{len(digests)} images are in the store; `arstore images` lists them"


def refuse_terminal(source: str) -> None:
    """Raise UsageError when *source* means standard input, and that is a terminal, from which no archive comes."""
    from arstore.transport.location import STREAM, parse_location

    if parse_location(source).path == STREAM and os.isatty(0):
        raise errors.UsageError(source, "standard input is a terminal", "pipe an archive into it, or name a file")


def _options(
    session: Session, store: Store, words: ImportWords, limits: Limits, sources: Sequence[str]
) -> ImportOptions:
    from arstore.oci.platform import parse
    from arstore.transport.copy import ImportOptions
    from arstore.transport.selection.selector import Wanted

    tree, platform = words["tree"], words["platform"]
    _check_tree(store, tree)
    wanted = Wanted(None if platform is None else parse(platform), words["all_platforms"], wants_referrers(words))
    in_registry = any(one.startswith(PREFIX) for one in sources)
    registries = registry_access(session, words) if in_registry else None
    rules, keys = policy_rules(session, words), decryption_keys(session, words)
    return ImportOptions(words["name"], wanted, tree, limits=limits, registries=registries, keys=keys, rules=rules)


def _check_tree(store: Store, tree: str) -> None:
    if tree != AUTO and tree not in store.forms:
        known = ", ".join(sorted(store.forms))
        raise errors.UsageError(f"--tree {tree}", "this arstore does not build such trees", f"it builds: {known}")


def _tell_of_trees(session: Session, store: Store, tree: str) -> None:
    if not store.tree_forms(tree):
        session.note("no trees are built, because this user may not; `arstore unpack` needs none")


def _indexes(store: Store, taken: Sequence[TakenImage]) -> list[StoredImage]:
    """The indexes in the store that list any of these images."""
    digests = {image.digest for image in taken}
    return [image for image in store.images() if not digests.isdisjoint(image.record.manifests)]


def render_taken(
    session: Session,
    store: Store,
    taken: Sequence[TakenImage],
    skipped: SkippedTop,
    indexes: Sequence[StoredImage] = (),
) -> None:
    """Print what came in: a line for each index and image, or one JSON document."""
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
    """What a command did besides taking images in, as members of a JSON document.

    `moved` has the names that stood for another image before, `cleared` the bytes that killed commands had left.
    """
    return {"moved": [moved._asdict() for moved in store.moved], "cleared": store.cleared}


def image_document(image: TakenImage) -> dict[str, Any]:
    """An image that came in, as JSON tells it.

    `digest`, `config`, `names`, `layers` (bottom first), `platform`; `attachments` are the digests of what is
    attached to it and came with it; `dropped_xattrs` counts the extended attributes
    that its trees do not have.
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
