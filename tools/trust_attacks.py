#!/usr/bin/env python3
"""Print docs/design/trust-attacks.md after trying every attack; `--write` writes the file.

The attacks are those of tests/trust/attacking, which also tests that they all fail. Needs gpg.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from generated import main  # noqa: E402

from arstore.errors import KeyFileError, SignatureError  # noqa: E402 - the checkout need not be installed

TARGET = CHECKOUT / "docs" / "design" / "trust-attacks.md"
_CHANGING = re.compile(r"(?<=the key )[0-9a-f]{12}|(?<=column )[0-9]+|(?<=has )[0-9]{4,}")
"""Parts that differ from run to run: keys, and lengths of what holds signatures of ECDSA."""

HEAD = """# Attacks on signatures

Made by `tools/trust_attacks.py --write` from `tests/trust/attacking`; a test asserts that the two agree, and
another one that no attack is taken for a signature. The second column is what `arstore` says to it. All of them were
tried on a key, a log and authorities that are trusted.
"""


def document() -> str:
    """The whole text of the file."""
    # Imported here: the checkout's tests can be imported only now.
    from trust.attacking import ATTACKS  # type: ignore[import-not-found]
    from trust.attacking.world import World  # type: ignore[import-not-found]

    world = World()
    try:
        rows = [(attack, _refusal(attack, world)) for attack in ATTACKS]
    finally:
        world.close()
    kinds = list(dict.fromkeys(attack.kind for attack, _ in rows))
    text = HEAD + f"\n{len(rows)} attacks, {sum(not refusal for _, refusal in rows)} accepted.\n"
    for kind in kinds:
        text += f"\n## {kind[0].upper()}{kind[1:]}\n\n| attack | refused, because | known as |\n|---|---|---|\n"
        for attack, refusal in rows:
            if attack.kind == kind:
                text += f"| {attack.name} | {refusal or '**accepted**'} | {attack.known} |\n"
    return text


def _refusal(attack: Any, world: Any) -> str:  # noqa: ANN401 - the tests are not typed
    try:
        attack.attempt(world)
    except (SignatureError, KeyFileError) as error:
        return _CHANGING.sub("…", f"{error.what}: {error.why}").replace("|", r"\|")
    return ""


if __name__ == "__main__":
    sys.exit(main(document(), TARGET))
