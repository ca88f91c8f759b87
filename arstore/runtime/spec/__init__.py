"""config.json: the wishes of image and user, and the defaults, as one document for the runtime.

`document` puts it together; `options` are the user's wishes; `process`, `users` and `command` come from the image;
`capabilities`, `seccomp` and `security` are its rights. `bundle` has the other files.
Starting the container is in `lifecycle`. Start with `document`. Format: OCI runtime-spec 1.2, config.md and
config-linux.md.
"""
