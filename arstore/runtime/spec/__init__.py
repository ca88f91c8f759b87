"""config.json: what the image, the user and the defaults ask for, as one document for the runtime.

`document` puts it together; `options` are the user's wishes, `process`, `users` and `command` come from the image;
`capabilities`, `seccomp` and `security` are its rights. `bundle` has the files beside it.
Not here: starting it. Start with `document`. Format: OCI runtime-spec 1.2, config.md and config-linux.md.
"""
