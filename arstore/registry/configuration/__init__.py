"""The ecosystem's configuration files for registries, of podman 5's generation (docs/design/decisions/0046).

`auth_file` and `helper` hold credentials, `certs_d` certificates, `registries_conf` what is blocked, insecure or
mirrored, and `short_names` what a name without a registry means. Files are read when a registry is named, and never
written but for `login` and `logout`.
"""
