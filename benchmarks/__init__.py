"""Benchmarks: arstore, its peers and the floor, measured in one run. docs/benchmarks.md explains how."""
