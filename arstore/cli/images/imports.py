"""`import`: bring images from files, streams and registries into the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    SOURCE_ERRORS,
    command,
    exit_statuses,
    file_digests_option,
    json_option,
    limit_option,
    max_size_option,
    needing,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.images.encryption import KEY_ERRORS, decryption_keys, decryption_option
from arstore.cli.images.referrers import REFERRERS, wants_referrers
from arstore.cli.images.skipped import skipped_lines
from arstore.cli.namespace import Need
from arstore.cli.parameter import ANY, Choice, Range, argument, option
from arstore.cli.registries.options import PREFIX, registry_access, registry_options
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.trust.rules import POLICY_ERRORS, policy_options, policy_rules
from arstore.trees.forms import AUTO, FORMS, is_usable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar, Unpack

    from arstore.api.values.imports import Imported, ImportedImage, MovedName
    from arstore.cli.images.encryption import DecryptionWords
    from arstore.cli.images.referrers import ReferrersWords
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords

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
        max_size_option,
        file_digests_option,
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


@exit_statuses(*SOURCE_ERRORS, errors.BudgetError, *KEY_ERRORS, *POLICY_ERRORS)
@needing(Need.OWNERS)
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
    if anything is wrong, no image is stored. docker:// is an image in a registry, as for `arstore pull`.

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
        if words["all_platforms"]:
            raise errors.UsageError("--all-platforms", "a root file system is for one platform", "use --platform")
        if words["decryption_key"]:
            raise errors.UsageError("--decryption-key", "a root file system is not encrypted", "leave it out")
        if root_name is not None and words["name"]:
            raise errors.UsageError(root_name, "and --name exclude each other", "give one name")
        name = root_name or words["name"]
        if not name:
            raise errors.UsageError(
                "--rootfs", "needs a name for the image", "write `arstore import --rootfs TAR NAME`"
            )
        _take_root(session, source, name, changes, message, timestamp, words)
        return
    if root_name is not None or changes or message or timestamp is not None:
        if root_name is not None:
            raise errors.UsageError(root_name, "is one argument too many", _ONE_NAME)
        what = "--change" if changes else "--message" if message else "--timestamp"
        raise errors.UsageError(what, "needs --rootfs")
    taken(session, source, words)


def _take_root(
    session: Session,
    source: str,
    name: str,
    changes: tuple[str, ...],
    message: str,
    timestamp: int | None,
    words: ImportWords,
) -> None:
    from arstore.api.methods.imports import ImportMethods

    refuse_terminal(source)
    session.tell_confinement()
    _note_other_form(session, words["tree"])
    rules = policy_rules(session, words)
    with session.opened(ImportMethods, rules, create=True) as library, session.progress() as progress:
        done = library.import_root(
            source,
            name,
            platform=words["platform"] or "",
            created=timestamp,
            message=message,
            changes=changes,
            tree=words["tree"],
            limits=session.limits(words["limit"], strict_xattrs=words["strict_xattrs"]),
            progress=progress,
        )
    render_imported(session, done)


def taken(session: Session, source: str, words: ImportWords, *, pull: bool = False) -> None:
    """Import *source*, or with *pull* the image that it names in a registry, and print its images.

    Raises UsageError, SourceError, RegistryError, StoreError.
    """
    from arstore.api.methods.imports import ImportMethods

    if not pull:
        refuse_terminal(source)
    if words["platform"] is not None and words["all_platforms"]:
        raise errors.UsageError("--platform", "and --all-platforms exclude each other")
    session.tell_confinement()
    _note_other_form(session, words["tree"])
    in_registry = pull or source.startswith(PREFIX)
    registries = registry_access(session, words) if in_registry else None
    rules = policy_rules(session, words)
    with session.opened(ImportMethods, rules, create=True) as library, session.progress() as progress:
        done = (library.pull if pull else library.import_images)(
            source,
            name=words["name"],
            platform=words["platform"] or "",
            all_platforms=words["all_platforms"],
            referrers=wants_referrers(words),
            tree=words["tree"],
            limits=session.limits(words["limit"], strict_xattrs=words["strict_xattrs"]),
            registries=registries,
            keys=decryption_keys(session, words),
            progress=progress,
        )
    render_imported(session, done)


def _note_other_form(session: Session, tree: str | None) -> None:
    form = FORMS.get(tree or "")
    if form is not None and not form.extracts and not is_usable(form):
        session.note(f"trees are extracted files, because the kernel does not mount {tree} in a user namespace")


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


def render_imported(session: Session, done: Imported) -> None:
    """Print the imported images: a line for each index and image, or one JSON document."""
    session.done = in_the_store([image.digest for image in done])
    if not done.mountable:
        session.note(f"layer trees were not built: {done.obstacle}; `arstore unpack` needs none")
    for line in skipped_lines(done.skipped, done.skipped_count):
        session.note(line)
    if session.json:
        document: dict[str, Any] = {
            "images": [image_document(image) for image in done],
            "skipped": [vars(entry) for entry in done.skipped],
            "skipped_count": done.skipped_count,
            **besides(done.moved, done.cleared),
        }
        if done.indexes:
            document["indexes"] = [
                {"digest": index.digest, "names": index.names, "manifests": index.manifests} for index in done.indexes
            ]
        write_json(document)
        return
    for index in done.indexes:
        write_line(index.digest, *index.names)
    for image in done:
        write_line(image.digest, *image.names)


def image_document(image: ImportedImage) -> dict[str, Any]:
    """Return an imported image for JSON output: the fields of `ImportedImage`, and those of its layers."""
    return {**vars(image), "layers": [vars(layer) for layer in image.layers]}


def besides(moved: Iterable[MovedName], cleared: int) -> dict[str, Any]:
    """Return side effects of an import, as members of a JSON document.

    `moved` has the names that belonged to another image before, `cleared` the number of bytes that were freed because
    killed commands had left them.
    """
    return {
        "moved": [{"name": one.name, "was": one.was, "digest": one.digest} for one in moved],
        "cleared": cleared,
    }
