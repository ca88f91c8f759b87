"""Trust in images: signatures, policies that require them, and encryption of layers.

`signature` has the types that all modules share, `payload` parses what is signed, `keys` the keys. `sigstore/` and
`openpgp/` verify, `apart` confines the verification, `policy/` decides, `signing/` signs. `cosign` makes and reads the
manifests that carry signatures, `dir_file` the files.
Not here: where signatures come from and where they go. Callers pass bytes and get values; this package never opens a
store, a source or a registry. It fails closed: anything that cannot be read or verified is a SignatureError.
Start with `signature`. For the reasons, see docs/design/decisions/0063.
"""
