"""Attacks on the verification of signatures, as tables: `ATTACKS` has all of them.

Each module has one class of attacks. An attack is a name and a function that tries it on a `World` of keys and
authorities, in the way a caller would; it has failed only if a SignatureError or KeyFileError is raised.
`tools/trust_attacks.py` makes docs/design/trust-attacks.md of them.
"""

from __future__ import annotations

from trust.attacking import bundles, carriers, certificates, logs, messages, payloads, signatures

ATTACKS = [
    *payloads.ATTACKS,
    *signatures.ATTACKS,
    *logs.ATTACKS,
    *certificates.ATTACKS,
    *bundles.ATTACKS,
    *messages.ATTACKS,
    *carriers.ATTACKS,
]
