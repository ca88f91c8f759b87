"""A container's standard streams: pipes or a terminal, never the caller's own files (docs/design/decisions/0028).

`streams` makes them. In the foreground, `relay` moves the bytes; in the background, `hub` moves them between the
container, its log and the processes attached to it (docs/design/decisions/0079). `client` is such a process, `frames`
are the messages between the two. `terminal` handles raw mode and sizes; `logs`, `log_files` and `log_reader` are the
log. Start with `streams`.
"""
