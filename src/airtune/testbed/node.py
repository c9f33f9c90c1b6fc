"""Starts a client's SuperNode in a network namespace of its own.

`python -m airtune.testbed.node CLIENT HOME COMMAND...`

Its parent, in whose namespace the server is, starts it through `unshare --net`. HOME then holds the number
of its process, by which others enter the namespace.
"""

import os
import sys
from pathlib import Path

from airtune.testbed.network import link_commands, run_all


def process_file(home: Path, client: int) -> Path:
    """Where the number of a client's process is written."""
    return home / f"client-{client}.pid"


def main() -> None:
    """Entry point."""
    client, home, command = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    run_all(link_commands(client, os.getppid()))
    process_file(home, client).write_text(str(os.getpid()))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
