"""Settling the network of a request: the ports to publish become numbers, which the container then keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.runtime.networking.network import find_helper, require_tun
from arstore.runtime.spec.nets.ports import require_free, with_exposed, with_host_ports

if TYPE_CHECKING:
    from arstore.oci.config import ImageConfig
    from arstore.runtime.spec.options import RunOptions


def settled_network(options: RunOptions, config: ImageConfig) -> RunOptions:
    """Return *options* with a port of the host for every port to publish; those exposed by the image too, with -P.

    Raises RuntimeMissingError if no helper is installed, PortInUseError, HostError (also for a host that the helper
    cannot work on), UsageError.
    """
    find_helper(options.network)
    require_tun(options.network)
    require_free([port for port in options.link.ports if port.host_port])
    link = with_host_ports(with_exposed(options.link, config.exposed_ports))
    return options._replace(link=link)
