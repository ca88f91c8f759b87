"""Maintenance of a store: disk usage, garbage collection, damage, backups.

`disk_usage` measures, `gc` collects, `check` finds and repairs damage, `backup` copies, `convert` changes tree formats.
Findings are return values; an exception means that a module could not do its work.
Printing is in `cli`. Start with `gc`.
"""
