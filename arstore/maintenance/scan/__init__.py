"""Scan of the store's directory: every file, and the bytes that it uses.

`walk` reads it in parallel processes, `totals` are the sums by kind, `cache` remembers directories that have not
changed, `size_table` keeps many sizes in little memory.
The expected content is in `graph` and `store.collect`. Start with `walk`.
"""
