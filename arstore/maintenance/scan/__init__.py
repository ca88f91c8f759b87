"""Reading the store's directory as a whole: every file, and what it occupies.

`walk` reads it in processes, `totals` are the sums by kind, `cache` remembers directories that have not changed,
`size_table` keeps many sizes in little memory.
Not here: what should be there (`graph`, `store.collect`). Start with `walk`.
"""
