"""Flower's own commands on this machine: how they are called, their ports and their environment."""

import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"

# Of Flower and Ray: no installing, no telling anybody, no asking for updates.
QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def flower_command(name: str) -> str:
    """Flower's console script of that name, of this environment if it has one."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def node_command(
    client: int,
    clients: int,
    superlink: str,
    port: int,
    security: Sequence[str] = ("--insecure",),
    **files: Path | None,
) -> list[str]:
    """Starts a client's SuperNode.

    Args:
        port: of its own, for its processes.
        security: options of `flower-supernode`.
        files: that its node configuration names, `noise_key` as `noise-key`; None is none.
    """
    config = f"partition-id={client} num-partitions={clients}"
    for name, file in files.items():
        if file is not None:
            config += f" {name.replace('_', '-')}={_quoted(str(file.absolute()))}"
    node = [flower_command("flower-supernode"), *security, "--superlink", superlink]
    return [*node, "--host", HOST, "--port", str(port), "--node-config", config]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:  # all bound before any is let go, so that no two are the same
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def environment(**own: str) -> dict[str, str]:
    """This process's environment for Flower's commands, with these variables."""
    given = dict(os.environ)
    # Flower starts its other commands by name.
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    for name in ("NO_PROXY", "no_proxy"):
        given[name] = ",".join(filter(None, [given.get(name), HOST]))
    return given | QUIET | own


def _quoted(text: str) -> str:
    """As a value of Flower's node configurations: a string of TOML with no quotation mark inside."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1].replace(r"\"", r"\u0022")
    return f'"{inside}"'
