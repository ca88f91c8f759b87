"""Looking after a store: disk usage, garbage collection, damage, backups.

`disk_usage` counts, `gc` collects, `check` finds damage and repairs, `backup` copies, `convert` changes tree forms.
Findings are values that these modules return; only what keeps them from looking is an exception.
Not here: printing (`cli`). Start with `gc`.
"""
