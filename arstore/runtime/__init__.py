"""From an image's config and a mounted root file system to a container that an OCI runtime runs.

Out of scope: where the root file system comes from (a callable mounts it) and which containers exist (the store knows).
Formats: OCI runtime-spec 1.2, OCI image-spec conversion.md.
"""
