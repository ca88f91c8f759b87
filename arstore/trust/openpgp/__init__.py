"""OpenPGP messages ("simple signing"), made and verified by the system's gpg; verified by pysequoia without gpg.

`verify` verifies, `sign` signs. `program` runs gpg within bounds, `status` parses its status lines, `sequoia` is the
other implementation. Not in scope: keys of the user (gpg has them), the web of trust, revocation servers.
Start with `verify`.
"""
