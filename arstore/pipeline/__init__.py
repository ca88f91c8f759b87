"""The pipeline: an image that is run once to build or fetch other images, which are then imported.

Uses the store, the transports and the runtime; used by the command line.
"""
