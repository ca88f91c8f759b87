"""Configuration files for registries, shared with other tools, as podman 5 reads them (docs/design/decisions/0046).

`auth_file` and `helper` hold credentials, `certs_d` certificates. `registries_conf` says what is blocked, insecure or
mirrored, and `short_names` resolves names without a registry. Files are read when a registry is named; only `login` and
`logout` write them.
"""
