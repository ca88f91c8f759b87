"""Overlay mounts of trees, and the table of mounts that outlive a command.

`overlay` makes a mount; `table` records it (`record`) and asks the kernel what became of it (`view`); `merge_plan`
stacks more layers than the kernel takes; `unrecorded` finds mounts without a record.
Not here: which image a tree belongs to, and containers.
Start with `table`.
"""
