"""Benchmarks: arstore beside its peers and beside the floor, measured in one run. docs/benchmarks.md tells how."""
