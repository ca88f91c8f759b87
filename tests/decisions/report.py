"""The table as Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from decisions.cases import Case

_GROUPS = {
    "files": (
        "Policy files",
        "The image is a directory without signatures. Cases that begin with a requirement's name have it for a scope "
        "that "
        "does not apply, and accept everything else, so the answer is about the file.",
    ),
    "lists": ("Lists of requirements", "`signed` is signedBy with exactReference."),
    "scopes": ("Scopes", "The default rejects; the scopes that are named accept, if nothing else is said."),
    "identities": (
        "Names in signatures",
        "The first word says where the image is, the second what name the signature has: `plain` is the image's own "
        "with "
        "its tag, `tag-2` another tag, `digest` its digest, `vendor` a name elsewhere.",
    ),
    "keys": ("Keys and signatures", "Identity is exactReference with the name that is in the signature."),
    "indexes": (
        "Indexes",
        "`index-only`: the index is signed; `instance-only`: the image that is taken; `other-instance`: one that is "
        "not.",
    ),
}
_ABOUT = """# Decisions of policies: skopeo and arstore

Made by `tools/trust decisions --write`. {skopeo} (containers/image 5.39) copies images that it, gpg {gpg} and
cosign {cosign} have signed, from directories, archives and a registry, under {cases} policies. arstore's evaluator gets
the same policies, manifests and signatures. A test repeats arstore's side.

An answer is `accepted`, `rejected` (the image), or `invalid` (the policy file is refused, and so is every image).
{equal} answers are equal, {differ} are not: each has its reason. In {stricter} of these arstore is stricter.
"""


def page(
    table: Sequence[Case],
    theirs: Mapping[tuple[str, str], tuple[str, str]],
    ours: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
) -> str:
    """The whole page."""
    rows = list(zip(table, ours, strict=True))
    different = [(case, mine) for case, mine in rows if mine[0] != theirs[case.group, case.title][0]]
    stricter = sum(theirs[case.group, case.title][0] == "accepted" for case, _ in different)
    counts = {"cases": len(rows), "equal": len(rows) - len(different), "differ": len(different), "stricter": stricter}
    names = {"skopeo": f"skopeo {versions['skopeo']}", "gpg": versions["gpg"], "cosign": versions["cosign"]}
    lines = [_ABOUT.format(**names, **counts)]
    lines += ["## Where the answers differ", "", "| case | skopeo | arstore | why |", "|---|---|---|---|"]
    for case, mine in different:
        answers = f"{theirs[case.group, case.title][0]} | {mine[0]}"
        lines.append(f"| {case.group}: {_cell(case.title)} | {answers} | {_cell(case.argued)} |")
    for group, (title, about) in _GROUPS.items():
        chosen = [(case, mine) for case, mine in rows if case.group == group]
        lines += ["", f"## {title}", "", about, "", "| case | skopeo | arstore |", "|---|---|---|"]
        lines += [
            f"| {_cell(case.title)} | {theirs[case.group, case.title][0]} | {_mine(case, theirs, mine[0])} |"
            for case, mine in chosen
        ]
    return "\n".join(lines) + "\n"


def _mine(case: Case, theirs: Mapping[tuple[str, str], tuple[str, str]], answer: str) -> str:
    return "=" if answer == theirs[case.group, case.title][0] else f"**{answer}**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def shown(case: Case) -> str:
    """A case for `--show`: its policy in lines, if it is JSON."""
    try:
        return json.dumps(json.loads(case.policy), indent=2)
    except ValueError:
        return repr(case.policy)
