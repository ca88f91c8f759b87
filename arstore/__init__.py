"""arstore: a content-addressable container image store with a runtime launcher.

The packages below this one depend on each other in one direction only, which `tests/test_direction.py` enforces:

    errors < digest < linux < {oci, tar} < store < {trust, transport} < {maintenance, runtime} < pipeline < cli

Nothing is imported here, so that a command pays only for what it uses.
"""

__version__ = "0.1.0"
