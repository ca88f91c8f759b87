"""The pipeline: an image that is run once to build or bring other images, which are then imported.

Knows of the store, the transports and the runtime; the command line knows of it.
"""
