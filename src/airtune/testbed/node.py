"""Starts a client's SuperNode in a network namespace of its own.

`python -m airtune.testbed.node CLIENT HOME COMMAND...`

Its parent, in whose namespace the server is, starts it through `unshare --net`. HOME then holds the number
of its process, by which others find the namespace.
"""

import os
import sys
from pathlib import Path

from airtune.errors import AirtuneError
from airtune.testbed.network import link_commands, run_all


def held_namespace(home: Path, client: int) -> str:
    """A client's network namespace as a path, which this process keeps as long as it lives.

    So its link is there and can be shaped also when the node has ended.

    Raises:
        AirtuneError: the node has ended already.
    """
    try:
        process = _process_file(home, client).read_text()
        namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    except OSError as error:
        raise AirtuneError(f"testbed: the node of client {client} has ended before the run began") from error
    return f"/proc/{os.getpid()}/fd/{namespace}"


def _process_file(home: Path, client: int) -> Path:
    return home / f"client-{client}.pid"


def main() -> None:
    """Entry point."""
    client, home, command = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    run_all(link_commands(client, os.getppid()))
    _process_file(home, client).write_text(str(os.getpid()))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
