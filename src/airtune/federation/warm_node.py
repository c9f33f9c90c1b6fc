"""A SuperNode whose clients start with everything loaded, where that is possible.

`python -m airtune.federation.warm_node FOLDER COMMAND...`

Flower starts a process for every message, which would import PyTorch and load model and data anew each time.
So this process starts the SuperNode of COMMAND, loads them once, and forks for every message. Flower starts
its client processes by name: FOLDER/bin, which leads the SuperNode's search path, has a `flwr-clientapp` that
only hands its arguments over, through a pipe of this node's. If a run's model or data are others, every fork
loads them. When this process is gone, so are the SuperNode and the clients.

What CUDA or libraries of other systems than Linux have begun, no fork can go on with. There this process
becomes the SuperNode, a plain one.
"""

import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from airtune.errors import AirtuneError
from airtune.federation.keeper import die_with_parent

COMMAND = "flwr-clientapp"
WARM = "AIRTUNE_WARM"  # in the environment of clients that have started warm
PIPE = "AIRTUNE_NODE"  # in the environment: the pipe of the node that a process belongs to
SCENARIO, DATA = "scenario.yaml", "data"  # in FOLDER: what is loaded, and the place of a client's own data
CHECK_S = 0.5
TERMINATED = 128 + signal.SIGTERM  # what shells expect then


def write_warm_start(folder: Path, scenario: str, data: Path | None = None) -> None:
    """Put into a folder what nodes need that start warm, for clients of this scenario.

    Args:
        data: a client's own.

    Raises:
        OSError: it cannot be written.
    """
    command = search_path(folder) / COMMAND
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$*" > "${PIPE}"\n')
    command.chmod(0o700)
    (folder / SCENARIO).write_text(scenario, encoding="utf-8")
    if data is not None:
        (folder / DATA).write_text(str(data.absolute()), encoding="utf-8")


def warm(folder: Path, node: Sequence[str]) -> list[str]:
    """Starts the SuperNode of this command, warm if it can be; `write_warm_start` has filled the folder."""
    return [sys.executable, "-m", "airtune.federation.warm_node", str(folder), *node]


def search_path(folder: Path) -> Path:
    """What has to lead the search path of nodes that start warm."""
    return folder / "bin"


def serve(pipe: Path, node: subprocess.Popen[bytes], threads: int) -> int:
    """Fork for every line of arguments that comes through the pipe, until the SuperNode has ended.

    Args:
        threads: to compute with in a client.

    Returns:
        The SuperNode's exit status.
    """
    reading = os.open(pipe, os.O_RDWR)  # which keeps it open while nobody writes
    begun, clients = b"", set[int]()
    while node.poll() is None:
        if select.select([reading], [], [], CHECK_S)[0]:
            *lines, begun = (begun + os.read(reading, 65536)).split(b"\n")
            for line in lines:
                client = os.fork()
                if client == 0:
                    os.close(reading)
                    _be_client(line, threads)
                clients.add(client)
        clients -= {client for client in clients if os.waitpid(client, os.WNOHANG)[0]}
    return node.returncode


def _why_plain() -> str | None:
    if sys.platform != "linux":
        return "only on Linux can its libraries be forked"
    import torch

    return "CUDA cannot be forked" if torch.cuda.is_available() else None


def _be_client(arguments: bytes, threads: int) -> None:
    """Do what Flower's own command does, and end here: what the parent does at its end is not a fork's."""
    status = 1
    try:
        status = _flower_client(arguments.decode().split(), threads)
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _flower_client(arguments: Sequence[str], threads: int) -> int:
    """Its exit status."""
    import torch
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(threads)
    os.environ[WARM] = "1"
    sys.argv = [COMMAND, *arguments]
    try:
        flwr_clientapp()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def is_warm() -> bool:
    """Whether this process is a client that has started with everything loaded."""
    return WARM in os.environ


def _load(folder: Path) -> int:
    """Everything that a client would load. Starts no threads, which a fork would lose.

    Returns:
        The number of threads to compute with later.
    """
    import flwr.supernode.cli.flwr_clientapp  # noqa: F401
    import torch

    import airtune.federation.client_round  # noqa: F401
    from airtune.learning.local_data import client_examples, client_own_examples
    from airtune.scenario_file import configured_scenario

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scenario = configured_scenario((folder / SCENARIO).read_text(encoding="utf-8"))
    if (folder / DATA).exists():
        client_own_examples(scenario, (folder / DATA).read_text(encoding="utf-8"))
    else:
        client_examples(scenario)
    return threads


def main() -> None:
    """Entry point."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    why_plain = _why_plain()
    if why_plain is not None:
        print(f"a plain node, PyTorch, model and data are loaded for every message: {why_plain}", flush=True)
        os.execvp(command[0], command)
    print("a warm node, PyTorch, model and data are loaded once", flush=True)
    pipe = folder / f"node-{os.getpid()}"
    os.mkfifo(pipe, 0o600)
    search = os.pathsep.join([str(search_path(folder)), os.environ.get("PATH", os.defpath)])
    own = {PIPE: str(pipe), "PATH": search}
    node = subprocess.Popen(command, env=os.environ | own, preexec_fn=die_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        # It comes and says so meanwhile; its first message waits.
        sys.exit(serve(pipe, node, _load(folder)))
    except AirtuneError as error:
        print("airtune:", error, file=sys.stderr)
        sys.exit(2)
    finally:
        node.terminate()
        node.wait()


if __name__ == "__main__":
    main()
