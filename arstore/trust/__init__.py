"""Who made an image: signatures, policies that ask for them, and encryption of layers.

`signature` has the values that all share, `payload` reads what is signed, `keys` the keys. `sigstore/` and `openpgp/`
verify, `apart` confines what verifies, `policy/` decides, `signing/` signs. `cosign` makes and reads the manifests
that carry signatures, `dir_file` the files.
Not here: where signatures come from and where they go. Callers pass bytes and get values; nothing in this package opens
a store, a source or a registry. Failing closed is the rule: what cannot be read or verified is a SignatureError.
Start with `signature`. Why so: docs/design/decisions/0063.
"""
