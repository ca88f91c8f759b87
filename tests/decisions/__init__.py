"""Decisions of policies, asked of skopeo and of arstore: `tools/trust decisions`.

`making` has skopeo, gpg and cosign sign small images; what they made is kept in material.json. `cases` is the table: a
policy, and an image by the name that a user gives. `skopeo` asks skopeo, and keeps its answers in recorded.json. `ours`
asks arstore, from material.json alone. `report` prints both side by side; test_decisions.py compares them, without any
other tool.
"""
