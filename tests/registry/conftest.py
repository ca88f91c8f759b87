"""The fixtures of registries on loopback."""

from support.registry_client import connect, server

__all__ = ["connect", "server"]
