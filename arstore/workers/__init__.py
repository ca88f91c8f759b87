"""Processes for confined work, such as reading a layer that is not verified yet.

`pool` forks them and collects their results, `wire` encodes the results, `confinement` drops privileges. `fetching`
brings them streams that they may not open. Also here: shared budgets, and reading ahead.
Not here: the work itself, which callers pass as functions.
Start with `pool`. Reasons for processes: docs/design/decisions/0005 and 0011.
"""
