"""All clients' links, as the server's process shapes them."""

from pathlib import Path

from airtune.testbed.network import run_all, shape_commands
from airtune.testbed.node import held_namespace


class Links:
    """The links of all clients, whose nodes have to be there when this is made.

    Args:
        home: where nodes say which processes they are.

    Raises:
        AirtuneError: a node has ended already.
    """

    def __init__(self, home: Path, clients: int) -> None:
        self._namespaces = [held_namespace(home, client) for client in range(clients)]

    def shape(self, client: int, down: float, up: float) -> None:
        """Give a client's link rates in bit/s, all headers included."""
        run_all(shape_commands(client, self._namespaces[client], down, up))
