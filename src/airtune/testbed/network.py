"""Links between the server and its clients: a veth pair for each, and the shaping of both directions.

Server and clients live in network namespaces without a name. Those end with the last process in them, and
with them the links: whatever kills the processes removes the network too.
"""

import subprocess
from collections.abc import Sequence

from airtune.errors import AirtuneError

# The token bucket holds what its rate fills in a moment: long enough for the kernel's timer, short beside
# a transfer. A full-sized frame of 1514 bytes has to fit.
BURST_S, LEAST_BURST = 0.01, 4096
QUEUE_S, LEAST_QUEUE = 0.2, 64 * 1024
CLIENT_DEVICE = "airtune"  # no machine of its own has one: what shapes it cannot touch another link
SINGLE_FRAMES = ["gso_max_segs", "1"]  # every frame has headers of its own, as on any real link

Command = list[str]


def server_device(client: int) -> str:
    """The server's end of a client's link."""
    return f"client-{client}"


def server_address(client: int) -> str:
    """Where a client reaches the server."""
    return f"10.{64 + client // 256}.{client % 256}.1"


def client_address(client: int) -> str:
    """The client's own address."""
    return server_address(client)[:-1] + "2"


def link_commands(client: int, server_process: int) -> list[Command]:
    """Make a client's link, from within its namespace; the other end goes to the server's namespace."""
    at_server = ["nsenter", f"--target={server_process}", "--net"]
    device = server_device(client)
    pair = ["ip", "link", "add", CLIENT_DEVICE, *SINGLE_FRAMES, "type", "veth"]
    return [
        ["ip", "link", "set", "lo", "up"],
        [*pair, "peer", "name", device, *SINGLE_FRAMES, "netns", str(server_process)],
        [*at_server, "ip", "address", "add", f"{server_address(client)}/30", "dev", device],
        [*at_server, "ip", "link", "set", device, "up"],
        ["ip", "address", "add", f"{client_address(client)}/30", "dev", CLIENT_DEVICE],
        ["ip", "link", "set", CLIENT_DEVICE, "up"],
    ]


def shape_commands(client: int, namespace: str, down: float, up: float) -> list[Command]:
    """Shape a client's link to rates in bit/s, all headers included, from within the server's namespace.

    Args:
        namespace: the client's, as a path.
    """
    at_client = ["nsenter", f"--net={namespace}"]
    return [_shape(server_device(client), down), [*at_client, *_shape(CLIENT_DEVICE, up)]]


def run_all(commands: Sequence[Command]) -> None:
    """Run commands one after the other.

    Raises:
        AirtuneError: one has failed; says which, and what it said.
    """
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AirtuneError(f"testbed: {' '.join(command)}: {' '.join(done.stderr.split())}")


def _shape(device: str, rate: float) -> Command:
    """A token bucket filter (tbf) on what leaves by a device."""
    burst = max(round(rate / 8 * BURST_S), LEAST_BURST)
    queue = max(round(rate / 8 * QUEUE_S), LEAST_QUEUE)
    shape = ["tbf", "rate", f"{round(rate)}bit", "burst", str(burst), "limit", str(queue)]
    return ["tc", "qdisc", "replace", "dev", device, "root", *shape]
