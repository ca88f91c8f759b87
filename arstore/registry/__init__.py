"""The client of OCI registries (distribution-spec 1.1, Docker's registry API v2).

`client` sends requests: it finds the scheme, authorises (`auth`), follows redirects and tries again (`http`).
`manifests`, `blobs`, `uploads`, `tags` and `referrers` are the requests that there are. `access` finds out what the
user's options and files (`configuration`) say of a registry. `lookaside` reads signatures that are kept beside a
registry. Start with `client`. `docker://` as a source and as a sink
is in `transport`. Imported only by commands that name a registry.
"""
