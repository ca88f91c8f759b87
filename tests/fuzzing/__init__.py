"""Fuzzing: readers of bytes from outside, or from a store that may be damaged, as targets that take any bytes.

A target is a plain function that fails only for a fault of arstore. `engine` runs one under atheris, which follows the
coverage; `tools/reliability fuzzing` runs all of them. The default suite replays `corpus/TARGET/`, which has inputs
that reach different code, and every input that has ever failed.
"""
