"""Policies: which images are accepted, who must have signed them, and under which name.

A policy is a file in the form of containers-policy.json(5). `document` parses it strictly into a `Policy` (`model`),
and `scope` finds the list of requirements that applies. `evaluate.judge` decides about one manifest and returns a
`Verdict`, with the outcome and the reason for each requirement. `identity` has the six ways to compare the name in a
signature with the image's; `material` loads key files; `places` says which file is read.

Start with `evaluate.judge`. Not in scope: cryptography (`trust.sigstore`, `trust.openpgp`), and where manifests and
signatures come from.
"""
