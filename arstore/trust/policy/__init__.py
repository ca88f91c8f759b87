"""Policies: which images are accepted, by whom they must be signed, and under which name.

A policy is a file in the form of containers-policy.json(5). `document` reads it strictly into a `Policy` (`model`),
whose lists of requirements are found by `scope`. `evaluate.judge` decides about one manifest and returns a `Verdict`,
which says for each requirement whether it holds and why. `identity` has the six ways to compare the name in a signature
with the image's; `material` loads key files; `places` says which file is read.

Start with `evaluate.judge`. Not in scope: cryptography (`trust.sigstore`, `trust.openpgp`), and where manifests and
signatures come from.
"""
