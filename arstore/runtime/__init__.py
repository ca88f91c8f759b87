"""From an image's config and a mounted root file system to a container that an OCI runtime runs.

`spec` writes config.json, `lifecycle` starts, attends and ends containers, `stdio` moves their bytes; `discovery` finds
a runtime that works here, and `driver` speaks its command line.
Not here: where the root file system comes from (a callable mounts it). Formats: OCI runtime-spec 1.2, image-spec
conversion.md. Start with `lifecycle.launcher`.
"""
