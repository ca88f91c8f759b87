"""OpenPGP messages: "simple signing", by the system's gpg, or by pysequoia where there is no gpg.

`verify` is the way in, `sign` the way out. `program` runs gpg within bounds, `status` reads what it says, `sequoia` is
the other implementation. Not in scope: keys of the user (gpg has them), trust between people, revocation servers.
Start with `verify`.
"""
