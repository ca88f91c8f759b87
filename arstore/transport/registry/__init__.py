"""The client of OCI registries (distribution-spec 1.1, Docker's registry API v2), and `docker://` as a source.

`client` sends requests: it finds the scheme, authorises (`authorizer`), follows redirects and tries again. `manifests`,
`blobs`, `uploads`, `listing` and `referrers` are the requests that there are; `source` makes an `ImageSource` of them.
Files that configure registries are in `configuration`. Imported only by commands that name a registry.
"""
