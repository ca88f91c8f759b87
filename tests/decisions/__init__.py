"""Decisions of policies, by skopeo and by arstore: `tools/trust decisions`.

`making` lets skopeo, gpg and cosign sign small images; the result is in material.json. `cases` is the table: a policy,
and an image by the name that a user gives. `skopeo` runs skopeo, and writes its answers to recorded.json. `ours` runs
arstore's evaluator, on material.json alone. `report` prints both next to each other; test_decisions.py compares them,
without any other tool.
"""
