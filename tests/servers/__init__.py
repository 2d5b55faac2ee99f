"""Real servers for the connectors' tests, without containers: installed once, started on demand.

`server(name)` gives a shared one, `private_server(name)` one to be stopped and killed, `FaultProxy`
a network that misbehaves. `python -m tests.servers` does the same from a shell.
"""

from tests.servers.proxy import FaultProxy
from tests.servers.recipe import StartFailed, Unavailable
from tests.servers.session import PrivateServer, Server, private_server, server

__all__ = [
    "FaultProxy",
    "PrivateServer",
    "Server",
    "StartFailed",
    "Unavailable",
    "private_server",
    "server",
]
