"""The matrix of signers, verifiers and media: cosign, skopeo, podman and arstore sign and verify, each on each medium.

Each signer signs the same small image on each medium, or arstore copies the signed image to a medium that the signer
cannot write. Each verifier is run with the signer's key, and with another key. `tools/trust matrix`.
"""
