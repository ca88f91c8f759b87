"""The life of a container: start, supervision, signals, end, safe against kills.

`containers` runs an image of the store, `launcher` is the supervising process, `keeper` the first one in the
container's namespaces; `state` is what others read about it, `control` acts on it, `exec` adds a process.
config.json and standard streams are elsewhere. Start with `launcher`.
"""
