"""Fuzzing: what reads bytes from outside, or from a store that may be damaged, as targets that take any bytes at all.

A target is a plain function that fails for nothing but a fault of arstore. `engine` runs one under atheris, which
follows the coverage; `tools/reliability fuzzing` runs all of them; the default suite replays `corpus/TARGET/`,
which holds what
was found to reach different code, and every input that has ever failed.
"""
