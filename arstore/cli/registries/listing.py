"""`list-tags`, `delete` and `referrers`: list and delete the content of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import argument, option
from arstore.cli.registries.options import LISTING_ERRORS, docker_reference, registry_access, registry_options
from arstore.cli.terminal.output import human_size, write_json, write_line, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.digest import Digest
    from arstore.registry.referrers import Referrer
    from arstore.registry.repository import Repository
    from arstore.store.attachments import StoredReferrer

_STORE = "store:"
_MOST_TAGS = 100
"""Most tags that `delete` looks up to find other names of the image."""


@exit_statuses(*LISTING_ERRORS)
@command("list-tags")
@argument("repository")
@registry_options
@json_option
def list_tags(session: Session, repository: str, **words: Unpack[AccessWords]) -> None:
    """List the tags of a repository in a registry.

    REPOSITORY is docker://REGISTRY/NAME. Prints one tag per line, in the registry's order. Nothing is downloaded to the
    store, and mirrors are not asked.

    Example:

    arstore list-tags docker://registry.example.com/team/app
    """
    from arstore.registry.access import Access
    from arstore.registry.tags import list_tags as listed

    reference = docker_reference(repository, "")
    if reference.tag or reference.digest:
        raise errors.UsageError(repository, "names an image, not a repository", "leave the tag out")
    with Access(registry_access(session, words)) as access:
        tags = listed(access.to_write(reference))
    if session.json:
        write_json({"repository": reference.repository, "tags": tags})
        return
    for tag in tags:
        write_line(tag)


@exit_statuses(*LISTING_ERRORS, errors.DigestMismatchError)
@command("delete")
@argument("image")
@registry_options
@json_option
def delete(session: Session, image: str, **words: Unpack[AccessWords]) -> None:
    """Delete an image from a registry.

    IMAGE is docker://REGISTRY/NAME[:TAG|@DIGEST]. The manifest is deleted, and with it every other tag of the same
    image; these tags are printed to stderr. Blobs are left to the registry's garbage collection. The store is not
    changed.

    Prints the digest of the deleted manifest.

    Example:

    arstore delete docker://registry.example.com/team/app:1
    """
    from arstore.registry.access import Access
    from arstore.registry.manifests import delete_manifest, get_manifest, head_manifest
    from arstore.registry.referrers import forget_referrer, subject_of

    reference = docker_reference(image)
    with Access(registry_access(session, words)) as access:
        repository = access.to_write(reference)
        found = head_manifest(repository, reference.wanted)
        if found is None:
            raise errors.RegistryNotFoundError(str(reference), "is not in the registry")
        raw = get_manifest(repository, found.digest).raw
        others = [] if reference.digest is not None else _other_tags(repository, reference.tag, found.digest)
        delete_manifest(repository, found.digest)
        for tag in (reference.tag, *others) if reference.digest is None else ():
            _delete_left_tag(repository, tag, found.digest)
        subject = subject_of(raw)
        if subject is not None:
            forget_referrer(repository, subject, found.digest)
    if others:
        session.note(f"other tags of the same image are deleted too: {', '.join(others)}")
    if session.json:
        write_json({"digest": found.digest, "repository": reference.repository, "also": others})
        return
    write_line(found.digest)


def _delete_left_tag(repository: Repository, tag: str, digest: Digest) -> None:
    """Delete the tag if it still exists: in some registries (crane's) a tag outlives its manifest."""
    from arstore.registry.manifests import delete_tag, head_manifest

    left = head_manifest(repository, tag)
    if left is not None and left.digest == digest:
        delete_tag(repository, tag)


def _other_tags(repository: Repository, tag: str, digest: Digest) -> list[str]:
    """Return the other tags of the same manifest; none if the repository has more than _MOST_TAGS tags."""
    from arstore.registry.manifests import head_manifest
    from arstore.registry.tags import list_tags as listed

    try:
        tags = [one for one in listed(repository) if one != tag]
        if len(tags) > _MOST_TAGS:
            return []
        heads = {one: head_manifest(repository, one) for one in tags}
    except errors.ArstoreError:
        return []
    return [one for one, head in heads.items() if head is not None and head.digest == digest]


@exit_statuses(
    *LISTING_ERRORS,
    errors.DigestMismatchError,
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.MissingBlobError,
)
@command("referrers")
@argument("image")
@option("--artifact-type", metavar="TYPE", default="", help="List only artifacts of this type.")
@registry_options
@json_option
def referrers(session: Session, image: str, artifact_type: str, **words: Unpack[AccessWords]) -> None:
    """List the artifacts that refer to an image.

    Signatures, attestations and other artifacts are listed; their content is not read. IMAGE is
    docker://REGISTRY/NAME[:TAG|@DIGEST], or store:NAME for what the store keeps with an image or an index. If a
    registry has no referrers API, the index that tools keep under a tag (sha256-...) is read instead, and each entry of
    it is looked up.

    Prints a line for each artifact: its digest, type and size.

    Example:

    arstore referrers store:app:1
    """
    if image.startswith(_STORE):
        _stored_referrers(session, image.removeprefix(_STORE), artifact_type)
        return
    from arstore.registry.access import Access
    from arstore.registry.manifests import head_manifest
    from arstore.registry.referrers import list_referrers

    reference = docker_reference(image)
    with Access(registry_access(session, words)) as access:
        repository = access.to_write(reference)
        digest = reference.digest
        if digest is None:
            found = head_manifest(repository, reference.tag)
            if found is None:
                raise errors.RegistryNotFoundError(str(reference), "is not in the registry")
            digest = found.digest
        entries, by_api = list_referrers(repository, digest, artifact_type)
    _render(session, {"digest": digest, "by_api": by_api}, entries)


def _stored_referrers(session: Session, text: str, artifact_type: str) -> None:
    from arstore.store.attachments import referrers_of

    with session.store() as store:
        image = store.find(text)
        entries = [one for one in referrers_of(store, image.digest) if artifact_type in {"", one.artifact_type}]
    _render(session, {"digest": image.digest}, entries)


def _render(session: Session, about: dict[str, Any], entries: Sequence[Referrer | StoredReferrer]) -> None:
    if session.json:
        listed = [
            {
                "digest": one.digest,
                "media_type": one.media_type,
                "artifact_type": one.artifact_type,
                "size": one.size,
                "annotations": one.annotations,
            }
            for one in entries
        ]
        write_json({**about, "referrers": listed})
        return
    rows = [(one.digest, one.artifact_type or "-", human_size(one.size)) for one in entries]
    write_table(("DIGEST", "TYPE", "SIZE>"), rows)
