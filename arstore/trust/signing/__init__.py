"""Signing: private keys, and signatures that cosign, skopeo and podman accept.

`private` reads and makes keys, `cosign_key` reads cosign's own key files, `sign` signs a manifest's digest.
Not here: where the signature is stored (`trust.cosign` makes the manifests that carry it), and OpenPGP
(`openpgp.sign`).
Start with `sign`.
"""
