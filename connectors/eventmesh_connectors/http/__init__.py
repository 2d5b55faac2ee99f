"""HTTP: requests run a function (API Gateway, function URL and load balancer events), and payloads
are posted to an address."""

from eventmesh.connectors import Connector

from .destination import HttpDestination, HttpDestinationOptions
from .options import HttpOptions
from .samples import build_samples
from .source import HttpSource

__all__ = [
    "HttpDestination",
    "HttpDestinationOptions",
    "HttpOptions",
    "HttpSource",
    "connector",
]

connector = Connector(
    summary="HTTP requests run a function; payloads are posted to a URL",
    source_options=HttpOptions,
    source=HttpSource,
    destination_options=HttpDestinationOptions,
    destination=HttpDestination,
    sample_events=build_samples(),
)
