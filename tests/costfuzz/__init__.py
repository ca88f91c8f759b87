"""Fuzzing for cost: a search for inputs with the highest time or memory for their charge, not for crashes.

A genome describes in a few words what an input repeats (`genome`); a target turns it into bytes and lets arstore read
them (`layers`, `documents`). The cost is compared with the part of the allowance that was charged (`measuring`).
`engine` keeps the dearest genome of each kind and size and changes it further. `tools/reliability cost` runs it.
"""
