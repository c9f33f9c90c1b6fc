"""Drills with a server or SuperLink that is killed: the run goes on later as if it had not been."""

import shutil
from pathlib import Path

import psutil
import pytest
from drills import ADAPTER, rounds_of

from airtune import AirtuneError, run
from airtune.observer import Observer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Killer(Observer):
    """Kills a process of the run once its first round is over, or once the second has its first update."""

    def __init__(self, command: str, mid_round: bool) -> None:
        self.command, self.mid_round, self.killed = command, mid_round, 0

    def on_client(self, number, client, loss) -> None:
        if self.mid_round and number == 2:
            self.kill()

    def on_round(self, event) -> None:
        if not self.mid_round and event["round"] == 1:
            self.kill()

    def kill(self) -> None:
        for process in psutil.Process().children(recursive=True):
            if runs(process, self.command):
                process.kill()
                self.killed += 1


def runs(process: psutil.Process, command: str) -> bool:
    """Whether a process that is alive was started with this command."""
    try:
        return any(word.endswith(command) for word in process.cmdline()[:2])
    except psutil.Error:
        return False


@pytest.mark.parametrize("mid_round", [False, True])
@pytest.mark.parametrize("command", ["flwr-serverapp", "flower-superlink"])
def test_a_server_that_is_killed_goes_on_as_if_it_had_not_been(command, mid_round, pair, straight, tmp_path):
    killer = Killer(command, mid_round)
    with pytest.raises(AirtuneError, match="stopped before the run's end; see ") as error:
        run(pair, tmp_path / "run", observer=killer, engine="flower-deployment")
    shutil.rmtree(Path(str(error.value).split()[-1]).parent)
    assert killer.killed == 1
    assert psutil.Process().children() == []
    assert [event["round"] for event in rounds_of(tmp_path / "run")] == [1]
    assert not (tmp_path / "run" / ADAPTER).exists()
    run(pair, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
