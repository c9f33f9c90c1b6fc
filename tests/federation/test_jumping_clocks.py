"""Drills with a client whose clock jumps: nobody waits for it, it is named, and it can come back."""

import os
import time

import pytest
from drills import FLEET, drill, lost_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


# A clock that jumps once a file is there: Python's, which Flower and airtune ask for the time.
CLOCK = """
import datetime, os, time

ahead, true = float(os.environ["AHEAD"]), time.time


def off():
    return ahead if os.path.exists(os.environ["JUMPED"]) else 0.0


class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


time.time = lambda: true() + off()
datetime.datetime = Jumping
"""


@pytest.mark.parametrize("hours", [11, -24 * 365])
def test_a_client_whose_clock_jumps_is_lost_until_it_is_right_again(hours, pair, tmp_path):
    """Flower refuses what a node signs at another time. Its SuperNode ends then, and can be started again.

    There is no deadline: nobody waits for it.
    """
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    jumped = tmp_path / "jumped"
    own = {"PYTHONPATH": path, "AHEAD": str(hours * 3600), "JUMPED": str(jumped)}
    with drill(tmp_path, pair, 3) as played:
        for client in FLEET:
            played.hold(client, 2)
        played.node("slow")
        wrong = played.node("fast", **own)
        played.begin()
        played.until_it_trains("fast", 2)
        jumped.touch()
        played.let_go("fast", 2)
        assert wrong.wait(timeout=120) == 0
        assert played.node("fast", **own).wait(timeout=120) == 0  # its clock is still wrong
        jumped.unlink()
        played.node("fast", **own)
        time.sleep(60)  # until it is there
        played.let_go("slow", 2)
        first, second, third = played.finish()
    assert lost_of(first) == lost_of(third) == {}
    assert lost_of(second).keys() == {"fast"}
    assert "Node Unavailable" in lost_of(second)["fast"]
