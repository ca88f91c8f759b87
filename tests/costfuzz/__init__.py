"""Fuzzing for cost: inputs that take the most time or memory for what they are charged, not inputs that crash.

A genome says in a few words what an input repeats (`genome`); a target turns it into bytes and lets arstore read them
(`layers`, `documents`). What that took is compared with the part of its allowance that was charged (`measuring`).
`engine` keeps the dearest genome of each kind and size and changes these further. `tools/reliability cost` runs it.
"""
