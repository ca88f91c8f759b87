"""What is reachable, what holds it, and how the rest is deleted.

`reachability` reads the graph; `holders` are containers, mounts and leases; `sweep` deletes in steps that are safe to
die in. Not here: the collector itself (`maintenance.gc`), which adds files without a record.
Start with `sweep`.
"""
