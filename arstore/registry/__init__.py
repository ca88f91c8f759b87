"""The client of OCI registries (distribution-spec 1.1, Docker's registry API v2).

`client` sends requests: it finds the scheme, authorises (`auth`), follows redirects and retries (`http`). `manifests`,
`blobs`, `uploads`, `tags` and `referrers` are the requests. `access` finds the settings for a registry in the user's
options and files (`configuration`). `lookaside` reads signatures that are kept outside the registry. Start with
`client`. `docker://` as a source and as a sink is in `transport`. Only commands that name a registry import this
package.
"""
