"""Find the repositories for what a user names and allows, from the command line's options and the configuration.

Explicit credentials are sent to the host that the user named, never to a mirror on another host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.docker_reference import DockerReference
from arstore.registry.auth.credential import Credential
from arstore.registry.client import Registry, RegistryClient
from arstore.registry.configuration.auth_file import find_credential
from arstore.registry.configuration.certs_d import certificates_for
from arstore.registry.configuration.endpoints import read_from, write_to
from arstore.registry.configuration.places import Places
from arstore.registry.configuration.registries_conf import RegistriesConf, read_registries
from arstore.registry.http.patience import DEFAULT, Patience
from arstore.registry.repository import Repository
from arstore.registry.warnings import Warnings
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest
    from arstore.registry.configuration.endpoints import Endpoint
    from arstore.registry.configuration.places import Kept


class RegistryOptions(NamedTuple):
    """Options for registries from the command line; None and "" leave the decision to the configuration.

    `tls_verify` False allows unverified certificates and plain http. `credential` None: none was given. `tell` is
    called with messages for the user. `kept` has parsed files.
    """

    tls_verify: bool | None = None
    credential: Credential | None = None
    anonymous: bool = False
    authfile: str | None = None
    cert_dir: str | None = None
    tell: Callable[[str], object] | None = None
    patience: Patience = DEFAULT
    places: Places | None = None
    kept: Kept | None = None


NO_OPTIONS = RegistryOptions()


class Access:
    """Makes clients from *options* and the configuration files, one for each registry and credential."""

    def __init__(self, options: RegistryOptions = NO_OPTIONS) -> None:
        self._options = options
        self.places = options.places or Places.here()._replace(kept=options.kept)
        self._conf: RegistriesConf | None = None
        self._warnings = Warnings(options.tell)
        self._clients: dict[Registry, RegistryClient] = {}

    @property
    def conf(self) -> RegistriesConf:
        """registries.conf, read on first use. Raises RegistryConfigError."""
        if self._conf is None:
            self._conf = read_registries(self.places)
            for one in self._conf.unknown if self._options.tell is not None else ():
                assert self._options.tell is not None
                self._options.tell(f"{one} is not a known setting, and is ignored")
        return self._conf

    def to_read(self, reference: DockerReference) -> list[Repository]:
        """The repositories to read *reference* from, in this order.

        Raises RegistryBlockedError, RegistryConfigError.
        """
        return [self._repository(one, reference.domain) for one in read_from(reference, self.conf)]

    def to_write(self, reference: DockerReference) -> Repository:
        """The repository for everything but reading an image. Raises RegistryBlockedError, RegistryConfigError."""
        return self._repository(write_to(reference, self.conf), reference.domain)

    def signatures(self, reference: DockerReference, manifest: Digest) -> tuple[bytes, ...]:
        """The files with signatures of *manifest* in the lookaside of *reference* (registries.d), in their order.

        Raises RegistryConfigError, LimitError, RegistryUnreachableError, RegistryAnswerError, HostError.
        """
        # Imported here: only a policy that asks for signatures needs YAML.
        from arstore.registry.configuration.registries_d import read_registries_d
        from arstore.registry.lookaside import read_lookaside

        base = read_registries_d(self.places).reading_base(reference, self.places)
        return read_lookaside(base, reference, manifest, self._options.patience, self.places.environ)

    def keep_signature(self, reference: DockerReference, manifest: Digest, data: bytes) -> str:
        """Write a signature of *manifest* to the lookaside of *reference*; return the path of its file.

        Raises RegistryConfigError, LimitError, HostError.
        """
        from arstore.registry.configuration.registries_d import read_registries_d
        from arstore.registry.lookaside import write_lookaside

        base = read_registries_d(self.places).writing_base(reference, self.places)
        return write_lookaside(base, reference, manifest, data)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> Access:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repository(self, endpoint: Endpoint, named: str) -> Repository:
        options = self._options
        # Options apply to the host that the user named, not to its mirrors on other hosts.
        own = not endpoint.is_mirror or endpoint.host == named
        insecure = endpoint.insecure if options.tls_verify is None or not own else not options.tls_verify
        certificates = certificates_for(endpoint.host, self.places, options.cert_dir if own else None)
        registry = Registry(endpoint.host, certificates, self._credential(endpoint, own), insecure)
        client = self._clients.get(registry)
        if client is None:
            client = RegistryClient(registry, options.patience, self._warnings, self.places.environ)
            self._clients[registry] = client
        return Repository(client, endpoint.path)

    def _credential(self, endpoint: Endpoint, own: bool) -> Credential | None:
        options = self._options
        if own and options.credential is not None:
            return options.credential
        if options.anonymous:
            return None
        repository = f"{endpoint.host}/{endpoint.path}"
        return find_credential(repository, self.places, options.authfile, self.conf.helpers)
