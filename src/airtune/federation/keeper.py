"""Keeps processes of Flower's: `python -m airtune.federation.keeper PLAN HOME`.

It starts a SuperLink, its SuperNodes and the run, or a single SuperNode in the run's place. It ends all that
any of them has started when the run is over, or when whoever started the keeper closes its standard input:
that also happens where that process is killed. Flower's processes start others in sessions of their own,
which no signal to a group would reach; so the keeper has itself made the parent of whatever loses its own.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

import psutil

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of Linux's prctl
START_S = 60.0
GOODBYE_S = 10.0
POLL_S = 0.1


@dataclass(frozen=True)
class ProcessPlan:
    """Command lines: the SuperLink, whose `address` answers once it is up, then the nodes, then the run.

    Without words there is no SuperLink of our own.
    """

    superlink: list[str]
    address: str
    nodes: list[list[str]]
    run: list[str]

    def to_json(self) -> str:
        """As the keeper is given it."""
        return json.dumps(asdict(self))


@contextlib.contextmanager
def kept(
    command: Sequence[str], env: Mapping[str, str], log: BinaryIO | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper's process; afterwards it has ended, and all that it has started.

    Args:
        command: that starts it.
        log: gets what it says, instead of this process's own output.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=None if log is None else subprocess.STDOUT,
        env=env,
        start_new_session=True,  # Ctrl-C is for this process, which then closes the keeper's input
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


class GoneError(Exception):
    """Nobody listens any more, or a process that has to stay has ended."""


def play(plan: ProcessPlan, gone: threading.Event) -> int:
    """Start everything and wait for the run.

    Returns:
        The exit status of the run's process.

    Raises:
        GoneError: a process that has to stay has ended, or `gone` is set.
    """
    stay = [_start(plan.superlink)] if plan.superlink else []

    def check() -> None:
        if gone.wait(POLL_S):
            raise GoneError("nobody listens any more")
        for process in stay:
            if process.poll() is not None:
                raise GoneError(f"{process.args!r} has ended with status {process.returncode}")

    latest = time.monotonic() + START_S
    while stay and not _answers(plan.address):
        check()
        if time.monotonic() > latest:
            raise GoneError(f"the SuperLink does not answer on {plan.address}")
    for command in plan.nodes:
        _start(command)  # a node may come and go
    run = _start(plan.run)
    try:
        while run.poll() is None:
            check()
    except GoneError:
        run.terminate()  # a node says goodbye, or it would be missed for a minute
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(GOODBYE_S)
        raise
    return run.returncode


def end_all() -> None:
    """Kill whatever descends from this process, and return when nothing is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os.waitpid(-1, 0)  # until there is none to wait for: orphans become children of this process


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    print("starting", *command, flush=True)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only that
    except OSError:
        return False


def main() -> None:
    """Entry point."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    gone = threading.Event()

    def listen() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        gone.set()

    parent = os.getppid()
    threading.Thread(target=listen, daemon=True).start()
    try:
        status = play(ProcessPlan(**json.loads(sys.argv[1])), gone)
    except GoneError as error:
        if not gone.is_set():
            print(error, flush=True)
        status = 1
    finally:
        end_all()
        if os.getppid() != parent:  # who would have removed it was killed
            shutil.rmtree(sys.argv[2], ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
