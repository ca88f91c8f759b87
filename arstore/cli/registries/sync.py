"""`sync`: copy many images from registries or directories to another place."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, needing
from arstore.cli.images.copying import COPY_ERRORS, export_options, format_option, how_to_copy
from arstore.cli.namespace import Need
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.registries.options import registry_access, registry_options
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.trust.rules import policy_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Unpack

    from arstore.cli.images.copying import CopyWords
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.registry.access import RegistryOptions
    from arstore.sync.place import How, Place
    from arstore.sync.run import Outcome, Source

    class SyncWords(CopyWords):
        """The options as they were typed."""

        src: str | None
        dest: str | None
        scoped: bool
        dry_run: bool
        prune: bool
        fail_fast: bool
        keep_going: bool
        src_creds: str | None
        dest_creds: str | None


_DOCKER, _YAML, _DIR, _OCI, _STORE = "docker://", "yaml:", "dir:", "oci:", "store:"
_KINDS = {"docker": _DOCKER, "yaml": _YAML, "dir": _DIR, "oci": _OCI}


@exit_statuses(*COPY_ERRORS, errors.SyncFailedError)
@needing(Need.OWNERS)
@command("sync")
@argument("source")
@argument("destination")
@option("-s", "--src", type=Choice(("docker", "yaml", "dir", "oci")), help="The kind of SOURCE, if it has no prefix.")
@option("-d", "--dest", type=Choice(("docker", "dir", "oci")), help="The kind of DESTINATION, if it has no prefix.")
@option("--scoped", is_flag=True, help="Use the whole name of an image, with its registry, below DESTINATION.")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be done.")
@option("--prune", is_flag=True, help="Delete tags at DESTINATION that SOURCE no longer has, in the same repositories.")
@option("--fail-fast", is_flag=True, help="Stop at the first image that fails.")
@option("--keep-going", is_flag=True, help="Continue after an image that fails; this is the default.")
@option("--src-creds", metavar="USER:PASSWORD", help="Credentials for source registries, instead of --creds.")
@option("--dest-creds", metavar="USER:PASSWORD", help="Credentials for the destination registry, instead of --creds.")
@format_option
@export_options
@registry_options
def sync(session: Session, source: str, destination: str, **words: Unpack[SyncWords]) -> None:
    """Copy many images from one place to another.

    Run it again to bring the destination up to date: images that are already there are not copied, and their manifests
    are not even downloaded.

    SOURCE is one of: docker://REGISTRY/NAME for all tags of a repository; docker://REGISTRY/NAME:TAG for one image;
    docker://REGISTRY/NAMESPACE/ (with the slash) for all repositories below it, if the registry can list them; a YAML
    file in skopeo's format (yaml:FILE, or a name that ends in .yaml or .yml); dir:PATH for a tree of dir: images;
    oci:PATH for an OCI layout. DESTINATION is docker://REGISTRY[/NAMESPACE], dir:PATH, oci:PATH, or store:[PREFIX] for
    the store.

    An image is copied to DESTINATION/NAME:TAG, where NAME is the last component of its name. With --scoped, and for
    oci: and for store: without a prefix, NAME is its whole name. Tags of signatures (sha256-...) are not treated as
    images. If an image fails, the others are still copied, and the exit status is 28; run the command again to copy
    what is missing.

    Prints a line for each image: copied or current, its digest, and its place at the destination. With --dry-run, copy
    is printed for copied.

    Example:

    arstore sync docker://registry.example.com/team/app oci:/srv/mirror
    """
    from arstore.sync.run import COPIED, CURRENT, FAILED

    how = _how(session, words)
    outcomes: list[Outcome] = []
    counts: Counter[str] = Counter()

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        counts[outcome.what] += 1
        _tell(session, outcome)
        done = counts[COPIED] + counts[CURRENT]
        session.done = f"{done} {'image is' if done == 1 else 'images are'} at the destination"

    try:
        with ExitStack() as stack:
            _sync(session, source, destination, how, words, tell, stack)
    finally:
        if session.json and (outcomes or sys.exception() is None):
            write_json({"dry_run": words["dry_run"], **_documents(outcomes)})
    if counts[FAILED]:
        noun = "item" if counts[FAILED] == 1 else "items"
        hint = "run the command again; images that are already there are not copied again"
        raise errors.SyncFailedError(destination, f"{counts[FAILED]} {noun} failed, {session.done}", hint)


def _how(session: Session, words: SyncWords) -> How:
    """Return the options as values. Raises UsageError, KeyFileError, NotFoundError, HostError."""
    from arstore.api.copying import export_options
    from arstore.api.importing import wanted
    from arstore.sync.place import How

    how = how_to_copy(session, words)
    options = export_options(
        words["format"] or "",
        how["compression"],
        how["level"],
        how["preserve_digests"],
        how["all_platforms"],
        how["limits"],
        signer=how["signer"],
        remove_signatures=how["remove_signatures"],
    )
    chosen = wanted(how["platform"], how["all_platforms"], how["referrers"])
    return How(chosen, options, policy_rules(session, words))


def _sync(
    session: Session,
    source: str,
    destination: str,
    how: How,
    words: SyncWords,
    tell: Callable[[Outcome], None],
    stack: ExitStack,
) -> None:
    from arstore.sync.run import Sync

    place = _place(session, _said(destination, words["dest"]), how, words, stack)
    begin = _source(session, _said(source, words["src"]), how, words)
    stack.callback(begin.close)
    found = begin.find(words["prune"])
    if found.attached:
        session.note(f"{source}: ignored {found.attached} tags of signatures, attestations and SBOMs")
    one = Sync(found, place, how, tell)
    steps = one.plan()
    dry_run, stops = words["dry_run"], words["fail_fast"]
    if dry_run:
        one.preview(steps)
    else:
        one.run(steps, session.progress, stops=stops)
    if words["prune"] and not (stops and one.failures):
        one.prune(dry_run=dry_run)


def _said(text: str, kind: str | None) -> str:
    """Return *text* with the prefix that --src or --dest names."""
    prefix = _KINDS[kind] if kind is not None else ""
    return text if text.startswith(prefix) else f"{prefix}{text}"


def _source(session: Session, text: str, how: How, words: SyncWords) -> Source:
    from arstore.sync.directories import Layout, Tree

    limits = how.options.limits
    kind, rest = _taken(text, (_DOCKER, _YAML, _DIR, _OCI))
    if kind in {_DOCKER, _YAML}:
        from arstore.sync.registries import Registries, wishes_in_registry
        from arstore.sync.yaml_file import read_wishes

        access = _access(session, words, words["src_creds"])
        return Registries((wishes_in_registry if kind == _DOCKER else read_wishes)(rest, access), limits)
    return Layout(rest, limits) if kind == _OCI else Tree(rest, limits)


def _place(session: Session, text: str, how: How, words: SyncWords, stack: ExitStack) -> Place:
    kind, rest = _taken(text, (_DOCKER, _DIR, _OCI, _STORE))
    place: Place
    if kind == _DOCKER:
        from arstore.sync.registry_place import RegistryPlace

        place = RegistryPlace(rest, _access(session, words, words["dest_creds"]), scoped=words["scoped"])
    elif kind == _STORE:
        from arstore.sync.store_place import StorePlace

        session.tell_confinement()
        store = stack.enter_context(session.store(create=not words["dry_run"]))
        place = StorePlace(store, rest, how, scoped=words["scoped"])
    else:
        from arstore.sync.directory_places import LayoutPlace, TreePlace

        place = LayoutPlace(rest, how.options.limits) if kind == _OCI else TreePlace(rest, scoped=words["scoped"])
    stack.callback(place.close)
    return place


def _taken(text: str, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Return the transport and the rest of *text*. Raises UsageError."""
    from arstore.transport.location import split_path

    for kind in kinds:
        if text.startswith(kind):
            rest = text.removeprefix(kind)
            if not rest and kind != _STORE:
                raise errors.UsageError(text, f"nothing follows {kind}")
            if kind == _OCI and split_path(rest)[1]:
                why = "names one image of a layout, but sync copies all images that have names"
                raise errors.UsageError(text, why, "leave the name out, or use `arstore copy`")
            return kind, rest
    if _OCI in kinds and os.path.isdir(text):
        return (_OCI if os.path.exists(f"{text}/oci-layout") else _DIR), text
    if _YAML in kinds and text.endswith((".yaml", ".yml")):
        return _YAML, text
    known = ", ".join(f"{kind}..." for kind in kinds)
    raise errors.UsageError(text, "is not a kind of source or destination", f"write one of {known}")


def _access(session: Session, words: SyncWords, creds: str | None) -> RegistryOptions:
    access: AccessWords = words
    return registry_access(session, {**access, "creds": creds or access["creds"]})


def _tell(session: Session, outcome: Outcome) -> None:
    """Print a line for *outcome*."""
    from arstore.sync.run import FAILED, SKIPPED

    if outcome.what == FAILED:
        label = outcome.source or outcome.destination
        text = str(outcome.error)
        session.report(text if text.startswith(label) else f"{label}: {text}")
    elif outcome.what == SKIPPED:
        session.note(f"skipped {outcome.source or outcome.destination}: {outcome.why}")
    elif not session.json:
        write_line(*filter(None, (outcome.what, outcome.digest, outcome.destination)))


def _documents(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the outcomes for JSON output, grouped by kind."""
    from arstore.sync.run import COPIED, COPY, CURRENT, DELETE, DELETED, FAILED, SKIPPED

    found: dict[str, Any] = {what: [] for what in (COPIED, CURRENT, COPY, DELETED, DELETE, SKIPPED, FAILED)}
    for one in outcomes:
        document = {"source": one.source, "destination": one.destination}
        if one.digest:
            document["digest"] = one.digest
        if one.why:
            document["why"] = one.why
        if one.error is not None:
            document |= {"kind": one.error.kind, "error": str(one.error)}
        found[one.what].append(document)
    return found
