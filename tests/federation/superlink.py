"""A SuperLink for tests, as somebody starts one by hand."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from airtune import Scenario
from airtune.federation.commands import HOST, QUIET, free_ports
from airtune.scenario_file import dump_scenario


def marked(mark: str) -> list[psutil.Process]:
    """All processes of this machine with this word in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, none of which gets to start another meanwhile."""
    family = [psutil.Process(process.pid)]
    for one in family:  # grows while it is gone through
        with contextlib.suppress(psutil.NoSuchProcess):
            one.suspend()
            family += one.children()
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


class SuperLink:
    """One that somebody has started by hand, with its nodes, and `flwr` to reach it."""

    def __init__(
        self, home: Path, *options: str, connection: str = "insecure = true", host: str = HOST
    ) -> None:
        (port,) = free_ports(1)
        self.address, self._bin = f"{host}:{port}", Path(sys.executable).parent
        (home / "flwr").mkdir()
        (home / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "mine"\n[superlink.mine]\naddress = "{self.address}"\n{connection}\n'
        )
        search = os.pathsep.join([str(self._bin), os.environ["PATH"]])
        own = {"FLWR_HOME": str(home / "flwr"), "PATH": search, "OMP_NUM_THREADS": "1", "TMPDIR": str(home)}
        self._environment, self._home, self._started = os.environ | QUIET | own, home, []
        self.start("flower-superlink", "--host", host, "--port", str(port), *options)

    def __enter__(self) -> "SuperLink":
        return self

    def __exit__(self, *_) -> None:
        for one in self._started:
            if one.poll() is None:
                kill_all(one)
            one.wait()

    def start(
        self, command: str, *arguments: str, within: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        command = [*within, self._bin / command, *arguments]
        environment = self._environment | environment
        self._started.append(subprocess.Popen(command, env=environment, cwd=self._home))
        return self._started[-1]

    def node(
        self, scenario: Scenario, client: str, *options: str, within: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """`airtune node` of a client; `within` begins its command, as `ip netns exec NAME` does."""
        file = self._home / f"{client}.yaml"
        file.write_text(dump_scenario(scenario))
        own = ["node", str(file), "--client", client, "--superlink", self.address, *options]
        return self.start("airtune", *own, within=within, **environment)

    def flwr(self, *arguments: str) -> None:
        for _ in range(100):
            command = [self._bin / "flwr", *arguments]
            if subprocess.run(command, env=self._environment, check=False).returncode == 0:
                return
            time.sleep(0.5)  # the SuperLink is not up yet
        raise AssertionError(arguments)
