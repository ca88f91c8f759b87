"""A container's life: started, attended, signalled, ended, whatever is killed meanwhile.

`containers` runs an image of the store, `launcher` is the process that attends, `keeper` the first one of the
container's namespaces; `state` is what others read of it, `control` acts on it, `exec` adds a process.
Not here: config.json and standard streams. Start with `launcher`.
"""
