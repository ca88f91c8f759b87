"""Running a container with an OCI runtime, from an image's config and a mounted root file system.

`spec` writes config.json, `lifecycle` starts, supervises and ends containers, `stdio` moves their bytes; `discovery`
finds a runtime that works here, and `driver` knows its command line.
The root file system is mounted by a callable of the caller. Formats: OCI runtime-spec 1.2, image-spec conversion.md.
Start with `lifecycle.launcher`.
"""
