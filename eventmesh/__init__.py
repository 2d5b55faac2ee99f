"""eventmesh: Lambda handlers, run anywhere, by any trigger.

Connector authors import from `eventmesh.connectors`, tests from `eventmesh.testing`; the rest is
internal.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
