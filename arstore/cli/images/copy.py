"""`copy` and `save`: copy images from one medium to another."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import REGISTRY_ERRORS, command, exit_statuses, max_size_option
from arstore.cli.images.copying import COPY_ERRORS, export_options, format_option, how_to_copy, render_copied
from arstore.cli.images.encryption import decryption_keys, decryption_option, encryption, encryption_options
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.registries.options import registry_access, registry_options
from arstore.cli.trust.rules import policy_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from arstore.api.methods.copies import CopyMethods
    from arstore.api.store import Store as Library
    from arstore.cli.images.copying import AllWords, SaveWords
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.registry.access import RegistryOptions

STORE = "store:"


@exit_statuses(*COPY_ERRORS, errors.BudgetError, *REGISTRY_ERRORS)
@command("copy")
@argument("source")
@argument("destination")
@format_option
@max_size_option
@option("--src-creds", metavar="USER:PASSWORD", help="Credentials for the source registry, instead of --creds.")
@option("--dest-creds", metavar="USER:PASSWORD", help="Credentials for the destination registry, instead of --creds.")
@export_options
@encryption_options
@decryption_option
@registry_options
def copy(
    session: Session,
    source: str,
    destination: str,
    src_creds: str | None,
    dest_creds: str | None,
    **words: Unpack[AllWords],
) -> None:
    """Copy images from one medium to another.

    SOURCE and DESTINATION are TRANSPORT:REFERENCE: docker://NAME for a registry, oci:PATH[:NAME],
    oci-archive:PATH[:NAME], docker-archive:PATH[:NAME], dir:PATH, or store:NAME for an image of the store. SOURCE may
    also be a path, - for a stream on stdin, or the name of an image of the store. DESTINATION may also be a path, or -
    for an OCI archive on stdout. A path that is a directory, or ends in a slash, is written as an OCI layout; any other
    path as an OCI archive.

    Manifests, layers and digests stay the same, unless an option asks for a conversion or the destination needs one: a
    docker-archive has uncompressed layers and no manifests. Blobs that the destination already has are not copied
    again. An OCI layout keeps the images that it has. A file is replaced only when the new one is complete.

    Prints a line for each image: its digest at the destination, and its names.

    Example:

    arstore copy docker://registry.example.com/team/app:1 oci:layout:app:1
    """
    if destination.startswith(STORE):
        _into_store(session, source, destination, words, src_creds)
        return
    if session.max_size is not None:
        raise errors.UsageError("--max-size", "is for a copy into the store", "leave it out")
    from arstore.transport.sinks.archive import refuse_terminal
    from arstore.transport.sinks.destination import parse_destination

    place = parse_destination(destination)
    refuse_terminal(place.path)
    how, keys = how_to_copy(session, words), decryption_keys(session, words)
    here, there = (_access(session, words, creds) for creds in (src_creds, dest_creds))
    stored = is_stored(source)
    with _library(session, words, source, stored) as library, session.progress() as progress:
        done = library.copy(
            f"{STORE}{source.removeprefix(STORE)}" if stored else source,
            destination,
            form=words["format"] or "",
            encryption=encryption(words),
            keys=keys,
            registries=there,
            source_registries=here,
            progress=progress,
            **how,
        )
    render_copied(session, place, done)


@contextmanager
def _library(session: Session, words: AllWords, source: str, stored: bool) -> Iterator[CopyMethods]:
    """Open the store if the image *source* is *stored* there; else only refuse a terminal as *source*."""
    from arstore.api.methods.copies import CopyMethods

    rules = policy_rules(session, words)
    if not stored:
        from arstore.cli.images.imports import refuse_terminal

        refuse_terminal(source)
        yield CopyMethods.over(None, session.settings, rules)
        return
    if source.startswith(STORE):
        with session.opened(CopyMethods, rules, reads=True) as library:
            yield library
        return
    with session.library(rules, reads=True) as library:
        _require_image(library, source)
        yield library


@exit_statuses(*COPY_ERRORS)
@command("save")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@option("-o", "--output", metavar="FILE", default="-", help="Write to FILE; - is stdout, the default.")
@option(
    "--format",
    "kind",
    type=Choice(("oci-archive", "docker-archive", "docker-oci-archive", "oci", "dir")),
    default="oci-archive",
    show_default=True,
    help="The format; docker-oci-archive is both kinds of archive in one file, as Docker 25 and later write.",
)
@export_options
@encryption_options
def save(session: Session, images: tuple[str, ...], output: str, kind: str, **words: Unpack[SaveWords]) -> None:
    """Write images of the store to a file.

    Each IMAGE is a name, a digest, or a unique prefix of one. An image given by digest is written with all its names.
    Manifests, layers and digests stay the same, except in a docker-archive, which has uncompressed layers and no
    manifests. FILE is replaced only when the new one is complete; with --format oci or dir it is a directory.
    Signatures, attestations and SBOMs that the store has of an image are written with it. `podman load` only reads OCI
    archives with one entry: for podman, use --format docker-oci-archive or --no-referrers.

    Prints a line for each image, unless the archive goes to stdout: its digest in the file, and its names.

    Example:

    arstore save app:1 base:1 -o images.tar
    """
    from arstore.api.methods.copies import CopyMethods
    from arstore.transport.sinks.archive import refuse_terminal
    from arstore.transport.sinks.destination import destination_of

    place = destination_of(output, kind)
    refuse_terminal(place.path)
    how = how_to_copy(session, words)
    rules = policy_rules(session, words)
    with session.opened(CopyMethods, rules, reads=True) as library, session.progress() as progress:
        done = library.save(images, output, kind=kind, encryption=encryption(words), progress=progress, **how)
    render_copied(session, place, done)


def _into_store(session: Session, source: str, destination: str, words: AllWords, creds: str | None) -> None:
    from arstore.api.methods.imports import ImportMethods
    from arstore.cli.images.imports import refuse_terminal, render_imported

    if words["format"] or words["compression"] or words["encryption_key"]:
        why = "the store keeps images unchanged, so no conversion is possible"
        raise errors.ConversionError(destination, why, "leave the option out, or copy to another medium")
    if is_stored(source):
        raise errors.UsageError(source, "is in the store already", "`arstore tag` gives it another name")
    refuse_terminal(source)
    how = how_to_copy(session, words)
    session.tell_confinement()
    rules = policy_rules(session, words)
    with session.opened(ImportMethods, rules, create=True) as library, session.progress() as progress:
        done = library.import_images(
            source,
            name=destination.removeprefix(STORE).strip(),
            platform=how["platform"],
            all_platforms=how["all_platforms"],
            referrers=how["referrers"],
            limits=how["limits"],
            registries=_access(session, words, creds),
            keys=decryption_keys(session, words),
            progress=progress,
        )
    render_imported(session, done)


def _access(session: Session, words: AllWords, creds: str | None) -> RegistryOptions:
    """Return the access options for the source or destination registry."""
    access: AccessWords = words
    return registry_access(session, {**access, "creds": creds or access["creds"]})


def _require_image(library: Library, source: str) -> None:
    """Raise NotFoundError if *source* is not an image of the store."""
    try:
        library.image(source)
    except errors.NotFoundError as error:
        why = "is neither a file, nor a directory, nor an image of the store"
        raise errors.NotFoundError(source, why, error.hint) from error


def is_stored(source: str) -> bool:
    """Return whether *source* means an image of the store: it has the prefix store:, or is not an existing path."""
    import os

    from arstore.oci.reference import parse_transport

    if source == "-":
        return False
    transport, _ = parse_transport(source)
    return transport == "store" or (not transport and not os.path.lexists(source) and not _looks_like_path(source))


def _looks_like_path(text: str) -> bool:
    return text.startswith(("/", "./", "../"))
