"""`verify`: which signatures of an image were made with a key."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, json_option, limit_option
from arstore.cli.parameter import argument, option
from arstore.cli.registries.options import PREFIX, AccessWords, registry_access, registry_options
from arstore.cli.terminal.output import printable, write_json, write_line

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.transport.selection.judging import Examined


class VerifyWords(AccessWords):
    """The options of `verify` as they were typed."""

    key: tuple[str, ...]
    keyring: tuple[str, ...]
    platform: str | None
    all_platforms: bool
    limit: tuple[str, ...]


@exit_statuses(*SOURCE_ERRORS, errors.KeyFileError, errors.SignatureError)
@command("verify")
@argument("source")
@option("--key", metavar="FILE", multiple=True, help="A public key of cosign, skopeo or `arstore keygen`.")
@option("--keyring", metavar="FILE", multiple=True, help="Public keys of OpenPGP, as gpg exports them.")
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Take images for this platform; by default the host's.")
@option("--all-platforms", is_flag=True, help="Take the images of an index for all platforms.")
@limit_option
@registry_options
@json_option
def verify(session: Session, source: str, **words: Unpack[VerifyWords]) -> None:
    """Verify signatures of images with keys.

    SOURCE is as for `arstore import`. Prints each signature of each image that would be taken, and of the indexes that
    lead to it: whether one of the keys made it for this image, and the name that was signed. **The name is not
    compared**; a policy does that. Nothing is imported, and layers are not read. Ends with status 56 unless every image
    has a good signature. Example:

    arstore verify --key builds.pub docker://registry.example.com/app:1
    """
    if not words["key"] and not words["keyring"]:
        raise errors.UsageError("verify", "needs --key or --keyring")
    found = _examined(source, words, session)
    bad = [one for one in found if not any(finding.is_good for finding in one.findings)]
    if session.json:
        images = [
            {
                "digest": one.digest,
                "names": one.names,
                "signatures": [finding._asdict() | {"good": finding.is_good} for finding in one.findings],
            }
            for one in found
        ]
        write_json({"verified": not bad, "images": images})
    else:
        for one in found:
            _write(one)
    if bad:
        count = len(bad[0].findings)
        why = f"has {count} signatures, and none is good" if count else "has no signature"
        raise errors.SignatureError(_called(bad[0]), why)


def _examined(source: str, words: VerifyWords, session: Session) -> list[Examined]:
    from arstore.cli.images.imports import refuse_terminal
    from arstore.oci.platform import parse
    from arstore.tar.limits import Limits, changed
    from arstore.transport.detect import open_source
    from arstore.transport.export.spool import TemporarySpool
    from arstore.transport.selection.judging import beside, examine_source
    from arstore.transport.selection.selector import Wanted
    from arstore.trust.keys import read_public_key
    from arstore.trust.signature import LARGEST
    from arstore.trust.signing.key_files import read_key_file

    platform, every = words["platform"], words["all_platforms"]
    if platform is not None and every:
        raise errors.UsageError("--platform", "and --all-platforms exclude each other")
    refuse_terminal(source)
    keys = [read_public_key(read_key_file(path), path) for path in words["key"]]
    files = [read_key_file(path, LARGEST) for path in words["keyring"]]
    limits = changed(words["limit"], Limits())
    registries = registry_access(session, words) if source.startswith(PREFIX) else None
    wanted = Wanted(None if platform is None else parse(platform), every)
    with ExitStack() as stack:
        keyring = None
        if files:
            from arstore.trust.openpgp.verify import opened

            keyring = stack.enter_context(opened(files))
        opened_source = open_source(source, TemporarySpool(), limits=limits, registries=registries)
        medium = stack.enter_context(opened_source)
        return examine_source(medium, wanted, keys, keyring, beside(medium), limits)


def _called(one: Examined) -> str:
    return one.names[0] if one.names else one.digest


def _write(one: Examined) -> None:
    write_line(f"{printable(_called(one))} {one.digest}")
    for finding in one.findings:
        about = f"signed as {finding.reference}" if finding.reference else "signed without a name"
        signer = f" by {finding.signer}" if finding.signer else ""
        told = f"{about}{signer}" if finding.is_good else finding.fault
        write_line(f"  {finding.form}: {'good' if finding.is_good else 'not good'}: {printable(told)}")
