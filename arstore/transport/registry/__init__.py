"""The client of OCI registries (distribution-spec 1.1, Docker's registry API v2), and `docker://` as a source.

`client` sends requests: it finds the scheme, authorises (`auth`), follows redirects and tries again (`http`).
`manifests`, `blobs`, `uploads`, `tags` and `referrers` are the requests that there are; `source` makes an `ImageSource`
of them, and `access` finds out what the user's options and files (`configuration`) say of a registry. Imported only by
commands that name a registry.
"""
