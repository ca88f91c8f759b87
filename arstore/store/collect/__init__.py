"""Which content is reachable, what holds it, and how the rest is deleted.

`reachability` reads the graph; `holders` are containers, mounts and leases; `sweep` deletes in steps after each of
which a process may die. The collector itself, which adds files without a record, is `maintenance.gc`.
Start with `sweep`.
"""
