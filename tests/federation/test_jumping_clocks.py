"""Drills with a client whose clock jumps: nobody waits for it, and who is lost is named."""

import os

import pytest
from drills import drill, lost_of

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
def test_a_client_whose_clock_jumps_holds_nobody_up(hours, pair, tmp_path):
    """Flower may take its task for dead, whose time was up by the new clock, or its node for gone."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    jumped = tmp_path / "jumped"
    with drill(tmp_path, pair, 3, deadline="150") as played:
        played.node("slow")
        own = {"PYTHONPATH": path, "AHEAD": str(hours * 3600), "JUMPED": str(jumped)}
        played.node("fast", **own)
        played.hold("fast", 2)
        played.begin()
        played.until_it_trains("fast", 2)
        jumped.touch()
        played.let_go("fast", 2)
        first, *later = played.finish()
    assert lost_of(first) == {}
    for event in later:
        assert lost_of(event).keys() <= {"fast"}
        assert {row["id"] for row in event["clients"]} | lost_of(event).keys() == {"slow", "fast"}
