"""A container's standard streams: pipes or a terminal, never the caller's own files (docs/design/decisions/0028).

`streams` makes them, `relay` moves the bytes, `terminal` handles raw mode and sizes, `logs` stores the output of
detached containers. Start with `streams`.
"""
