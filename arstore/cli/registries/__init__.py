"""Commands on registries: `pull`, `login`, `logout`, `list-tags`, `delete`, `referrers`, and `inspect docker://`.

`options` has the access options that all these commands share. Start with `pull`.
"""
