"""Overlay mounts of trees, and the table of those that outlive a command.

`overlay` makes one; `table` records it (`record`) and asks the kernel what became of it (`view`); `merge_plan` stacks
more layers than the kernel takes; `unrecorded` finds mounts without a record.
Not here: which image a tree belongs to, and containers.
Start with `table`.
"""
