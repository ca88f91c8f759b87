"""Processes that do confined work, such as reading a layer that nobody has verified yet.

`pool` forks them and collects their results, `wire` encodes these, `confinement` takes their rights away.
`fetching` brings them streams that they may not open. Also shared budgets, and reading ahead.
Not here: the work itself, which callers pass as functions.
Start with `pool`. Why processes: docs/design/decisions/0005 and 0011.
"""
