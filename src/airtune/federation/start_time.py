"""How long a process takes from its start until it can train: Python, the libraries and the base model.

`python -m airtune.federation.start_time MODEL`

Flower starts a process for every message, so each round of a node that does not start warm
(`federation.warm_node`) takes this long beside computing and sending.
"""

import subprocess
import sys
import time

from airtune.errors import AirtuneError

READY = b"ready\n"


def start_seconds(model: str) -> float:
    """Seconds of a process of its own. Files that this process has read already, it finds in memory.

    Args:
        model: as a scenario's `model.name`.

    Raises:
        AirtuneError: it has ended before it could train.
    """
    begin = time.perf_counter()
    command = [sys.executable, "-m", "airtune.federation.start_time", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = any(line == READY for line in process.stdout)
        seconds = time.perf_counter() - begin
    if not ready:
        raise AirtuneError(f"a process that loads {model} has ended with status {process.returncode}")
    return seconds


def main() -> None:
    """Load what a client loads for a message, but for its data."""
    import flwr.supernode.cli.flwr_clientapp  # noqa: F401

    import airtune.federation.client_round  # noqa: F401
    from airtune.learning.models import load_base

    load_base(sys.argv[1])
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
