"""The keeper ends all that it has started, and all that these have started, however a run ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from airtune.federation.keeper import ProcessPlan

# Answers on a port, as a SuperLink does once it is up, and has a child in a session of its own.
SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
ORPHAN = [sys.executable, "-c", f"import subprocess; subprocess.Popen({SLEEPER!r}, start_new_session=True)"]


def keeper(tmp_path: Path, run: list[str], server: str = SERVER) -> subprocess.Popen[bytes]:
    from airtune.federation.commands import free_ports

    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}/"
    plan = ProcessPlan([sys.executable, "-c", server, str(port)], address, [SLEEPER, ORPHAN], run)
    command = [sys.executable, "-m", "airtune.federation.keeper", plan.to_json(), str(tmp_path / "home")]
    (tmp_path / "home").mkdir()
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path, stdout=subprocess.PIPE)


def started(process: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    """Those of its descendants that run, as soon as there are that many."""
    latest = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < latest:
        found = [one for one in psutil.Process(process.pid).children(recursive=True) if runs(one)]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("the keeper has ended, or has not started all")


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(processes: list[psutil.Process]) -> bool:
    latest = time.monotonic() + 20
    while any(map(runs, processes)) and time.monotonic() < latest:
        time.sleep(0.05)
    return not any(map(runs, processes))


def test_a_run_ends_and_takes_all_with_it(tmp_path):
    done = tmp_path / "done"
    wait = f"import os, time\nwhile not os.path.exists({str(done)!r}): time.sleep(0.05)\nraise SystemExit(3)"
    process = keeper(tmp_path, [sys.executable, "-c", wait])
    processes = started(process, 5)  # server and its child, node, the orphan's child, and the run
    done.touch()
    assert process.wait(timeout=30) == 3
    assert all_gone(processes)
    assert (tmp_path / "home").exists()  # its owner lives and removes it


@pytest.mark.parametrize("how", ["input closed", "server killed"])
def test_whatever_happens_nothing_is_left(how, tmp_path):
    process = keeper(tmp_path, SLEEPER)
    processes = started(process, 5)
    if how == "input closed":
        process.stdin.close()
    else:
        next(one for one in processes if "http.server" in " ".join(one.cmdline())).kill()
    assert process.wait(timeout=30) == 1
    assert all_gone(processes)


def test_a_parent_that_is_killed_takes_all_with_it(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import test_keeper\n"
        "process = test_keeper.keeper(Path(sys.argv[2]), test_keeper.SLEEPER)\n"
        "print(process.pid, flush=True); process.wait()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    own = psutil.Process(int(parent.stdout.readline()))
    latest = time.monotonic() + 60
    while len(processes := [one for one in own.children(recursive=True) if runs(one)]) < 5:
        assert time.monotonic() < latest
        time.sleep(0.05)
    processes = [own, *processes]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert all_gone(processes)
    assert not (tmp_path / "home").exists()


def test_a_server_that_does_not_start_ends_the_run(tmp_path):
    process = keeper(tmp_path, SLEEPER, server="raise SystemExit(7)")
    assert process.wait(timeout=30) == 1
    assert b"has ended with status 7" in process.stdout.read()


def test_a_node_alone_is_let_say_goodbye(tmp_path):
    """Kept in a run's place; its exit status is the keeper's."""
    said = tmp_path / "said"
    polite = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(open({str(said)!r}, 'w').write('goodbye')))\n"
        f"open({str(tmp_path / 'up')!r}, 'w')\ntime.sleep(600)"
    )
    (tmp_path / "home").mkdir()
    plan = ProcessPlan([], "", [], [sys.executable, "-c", polite])
    command = [sys.executable, "-m", "airtune.federation.keeper", plan.to_json(), str(tmp_path / "home")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    processes = started(process, 1)
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    process.stdin.close()
    assert process.wait(timeout=30) == 1
    assert said.read_text() == "goodbye"
    assert all_gone(processes)
