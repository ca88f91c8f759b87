"""Encryption of layers in the form of ocicrypt: for whom a layer is, what opens it, and the cipher.

A layer's blob is encrypted with a random key (`cipher`). That key, and all else that is secret, is a small JSON
document (`options`), which is encrypted for each recipient as a JWE (`jwe`, keys in `jwk`) and lies in an annotation of
the layer's descriptor (`lock`). `key_file` reads what a user names, `unwrapping` opens layers' keys in a separate
process, `recipients` closes them.

Only JWE: OpenPGP, PKCS #7, PKCS #11 and key providers are refused by name. Not here: manifests and blobs, which callers
read and write. Start with `lock`. Why so: docs/design/decisions/0065.
"""
