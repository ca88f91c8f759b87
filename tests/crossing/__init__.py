"""Who verifies whose signatures, on which medium: cosign, skopeo, podman and arstore, each asked.

Each signer signs the same small image on each medium, or arstore carries the signed image to a medium that the signer
does not write. Each verifier is asked with the signer's key, and with another key. `tools/trust matrix`.
"""
