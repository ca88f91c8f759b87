"""Media that images are written to, one module each; all implement `transport.sink.ImageSink`.

`layout` writes a directory, `oci_archive` and `docker_archive` a tar file or a stream (`archive`), `dir` skopeo's form.
`destination` finds the sink for what the user wrote.
Not here: what is written, and in which order (`transport.export`). Start with `transport.sink`.
"""
