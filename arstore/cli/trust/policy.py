"""`policy`: check a policy file, and explain its decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, json_option, limit_option
from arstore.cli.group import CommandEntry, Group
from arstore.cli.parameter import argument, option
from arstore.cli.registries.options import PREFIX, registry_access, registry_options
from arstore.cli.terminal.output import printable, write_json, write_line
from arstore.cli.trust.rules import policy_options, policy_rules

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords
    from arstore.transport.admission.explain import Judged
    from arstore.trust.policy.doubts import Doubt
    from arstore.trust.policy.model import Policy
    from arstore.trust.policy.verdict import Outcome
    from arstore.trust.rules import Rules

    class SourceWords(AccessWords):
        """The options that select images of a source, as they were typed."""

        platform: str | None
        all_platforms: bool
        limit: tuple[str, ...]

    class ExplainWords(SourceWords, PolicyWords):
        """The options of `explain` as they were typed."""


STORE = "store:"


@json_option
def _policy(_: Session) -> None:
    """Check policies, and explain their decisions.

    Example:

    arstore policy explain docker://registry.example.com/team/app:1
    """


policy = Group(
    "policy",
    _policy,
    {
        "Commands": {
            "check": CommandEntry("trust.policy", "check", "Check a policy file, and list its rules."),
            "explain": CommandEntry("trust.policy", "explain", "Explain what a policy decides about images."),
        }
    },
)


@exit_statuses(errors.PolicyError, errors.KeyFileError, errors.NotFoundError)
@command("check")
@argument("file", metavar="[FILE]", required=False)
@json_option
def check(session: Session, file: str | None) -> None:
    """Check a policy file, and list its rules.

    FILE is a policy in the format of containers-policy.json(5). By default it is the policy that commands use:
    ~/.config/containers/policy.json, or else /etc/containers/policy.json.

    Prints each scope with its requirements, then what is probably a mistake: scopes that match no image, and
    requirements that can never be met. Key files that cannot be used are printed too, and make the command fail.

    Example:

    arstore policy check policy.json
    """
    from arstore.trust import policy_file as places
    from arstore.trust.policy.doubts import doubts
    from arstore.trust.policy.wording import described

    found = places.load(file or "")
    if found is None:
        raise errors.NotFoundError("policy.json", "does not exist, so every image is accepted", "give a FILE to check")
    odd, keys = list(doubts(found)), _key_faults(found)
    if session.json:
        lists = [
            {"transport": transport, "scope": scope, "requirements": [described(one) for one in requirements]}
            for transport, scopes in found.transports.items()
            for scope, requirements in scopes.items()
        ]
        default = {"transport": None, "scope": None, "requirements": [described(one) for one in found.default]}
        write_json(
            {
                "policy": found.what,
                "lists": [default, *lists],
                "doubts": [doubt._asdict() for doubt in odd],
                "keys": [doubt._asdict() for doubt in keys],
            }
        )
    else:
        _write_lists(found, odd, keys)
    if keys:
        what = "one requirement has" if len(keys) == 1 else f"{len(keys)} requirements have"
        raise errors.KeyFileError(found.what, f"{what} keys that cannot be used")


def _write_lists(found: Policy, odd: list[Doubt], keys: list[Doubt]) -> None:
    from arstore.trust.policy.wording import described

    sections = {"default": found.default}
    for transport, scopes in found.transports.items():
        for scope, requirements in scopes.items():
            sections[f"{transport}:{scope}" if scope else f"{transport}: (all others)"] = requirements
    for section, requirements in sections.items():
        write_line(printable(section))
        for requirement in requirements:
            write_line(f"  {printable(described(requirement))}")
    for doubt in (*odd, *keys):
        write_line(f"! {printable(doubt.place)}: {printable(doubt.text)}")


def _key_faults(found: Policy) -> list[Doubt]:
    """Return the requirements whose keys cannot be used, with the reason."""
    from arstore.trust.policy.checking import Checker
    from arstore.trust.policy.doubts import Doubt
    from arstore.trust.policy.material import Material
    from arstore.trust.policy.model import SignedBy, SigstoreSigned

    lists = {"default": found.default}
    for transport, scopes in found.transports.items():
        lists |= {f"transports.{transport}.{scope!r}": requirements for scope, requirements in scopes.items()}
    material, faults = Material(), []
    for section, requirements in lists.items():
        for number, requirement in enumerate(requirements):
            if isinstance(requirement, SignedBy | SigstoreSigned):
                try:
                    with Checker(requirement, material) as checker:
                        checker.load()
                except errors.ArstoreError as error:
                    faults.append(Doubt(f"{section}[{number}]", str(error)))
    return faults


@exit_statuses(*SOURCE_ERRORS, errors.PolicyError, errors.RejectedError)
@command("explain")
@argument("source")
@policy_options
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Judge the images for this platform; by default the host's.")
@option("--all-platforms", is_flag=True, help="Judge the images of an index for all platforms.")
@limit_option
@registry_options
@json_option
def explain(session: Session, source: str, **words: Unpack[ExplainWords]) -> None:
    """Explain what a policy decides about images.

    SOURCE is the same as for `arstore import`, or store:IMAGE for an image of the store. Prints for each image whether
    the policy accepts it, which list of requirements applies, and for each requirement whether it is met and why.
    Nothing is imported, and layers are not read. The exit status is 21 if an image is rejected.

    Example:

    arstore policy explain --policy policy.json oci:app
    """
    rules = policy_rules(session, words)
    found = rules.policy
    judged = verdicts(session, source, words, rules)
    rejected = [one for one in judged if not one.verdict.accepted]
    if session.json:
        images = [{"digest": one.digest, "names": one.names, **one.verdict.to_json()} for one in judged]
        write_json({"policy": found.what if found else None, "accepted": not rejected, "images": images})
    else:
        for one in judged:
            write_verdict(one)
    if rejected:
        raise errors.RejectedError(called(rejected[0]), rejected[0].verdict.reason)


def verdicts(session: Session, source: str, words: SourceWords, rules: Rules) -> list[Judged]:
    """Return the verdicts of *rules* on the images of *source*. Raises SourceError, PolicyError, UsageError."""
    if source.startswith(STORE):
        return _of_store(session, source.removeprefix(STORE), rules)
    from arstore.cli.images.imports import refuse_terminal
    from arstore.oci.platform import parse
    from arstore.transport.admission.explain import judge_source
    from arstore.transport.detect import open_source
    from arstore.transport.export.spool import TemporarySpool
    from arstore.transport.location import path_in
    from arstore.transport.selection.selector import Wanted

    platform, every = words["platform"], words["all_platforms"]
    if platform is not None and every:
        raise errors.UsageError("--platform", "and --all-platforms exclude each other")
    refuse_terminal(source)
    limits = session.limits(words["limit"])
    registries = registry_access(session, words) if source.startswith(PREFIX) else None
    wanted = Wanted(None if platform is None else parse(platform), every)
    with open_source(source, TemporarySpool(), limits=limits, registries=registries) as opened:
        return judge_source(opened, path_in(source), wanted, rules, limits)


def _of_store(session: Session, name: str, rules: Rules) -> list[Judged]:
    from arstore.transport.admission.explain import Judged
    from arstore.transport.admission.kept import verdict_on

    with session.store() as store:
        image = store.find_image(name)
        return [Judged(image.digest, image.names, verdict_on(store, image, rules))]


def called(one: Judged) -> str:
    """Return the image's first name, or its digest."""
    return one.names[0] if one.names else one.digest


def write_verdict(one: Judged) -> None:
    """Print a verdict for people."""
    verdict = one.verdict
    write_line(f"{printable(called(one))}: {'accepted' if verdict.accepted else 'rejected'}")
    for label, text in (
        ("digest", one.digest),
        ("asked as", verdict.subject),
        ("policy", verdict.policy or "none"),
        ("list", verdict.section),
        ("why", verdict.reason),
    ):
        if text:
            write_line(f"  {label:<9} {printable(text)}")
    for outcome in verdict.outcomes:
        _write_outcome(outcome)


def _write_outcome(outcome: Outcome) -> None:
    said = "holds" if outcome.accepted else outcome.reason
    write_line(f"  {outcome.number}. {printable(outcome.requirement)}: {printable(said)}")
    for attempt in outcome.attempts:
        write_line(f"     {attempt.kind} signature of {attempt.on}: {printable(attempt.reason or 'good')}")
