"""Commands on registries: `pull`, `login`, `logout`, `list-tags`, `delete`, `referrers`, and `inspect docker://`.

`options` are those that say how a registry is reached, the same for every command. Start with `pull`.
"""
