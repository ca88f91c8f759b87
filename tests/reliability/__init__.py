"""Exercises that try to break a store, each a command that prints figures: `tools/reliability NAME`.

Not tests by themselves: they take minutes to hours and real file systems. Short runs of each are among the tests.
"""
