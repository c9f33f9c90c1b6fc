"""Drills with clients that are killed, late, or out of disk: they are named, and nothing is half-merged."""

import os
import signal
import subprocess
import time

import pytest
from drills import FLEET, drill, lost_of
from superlink import kill_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_client_that_is_killed_while_it_trains_is_lost_for_that_round(pair, tmp_path):
    """First the process that trains, then its node with it, in whose place another one comes."""
    with drill(tmp_path, pair, 3) as played:
        for number in (1, 2):
            played.hold("fast", number)
        played.node("slow")
        node = played.node("fast")
        played.begin()
        os.kill(played.until_it_trains("fast", 1), signal.SIGKILL)
        played.until_it_trains("fast", 2)
        kill_all(node)
        played.node("fast")
        first, second, third = played.finish()
    assert lost_of(first).keys() == lost_of(second).keys() == {"fast"}
    assert [row["id"] for row in first["clients"]] == [row["id"] for row in second["clients"]] == ["slow"]
    assert lost_of(third) == {}


def test_a_late_reply_is_ignored_and_its_client_comes_back(pair, tmp_path):
    with drill(tmp_path, pair, 4, deadline="150") as played:
        for client, number in (("fast", 2), ("slow", 3)):
            played.hold(client, number)
        for client in FLEET:
            played.node(client)
        played.begin()
        played.until_it_trains("slow", 3)
        played.let_go("fast", 2)
        time.sleep(30)  # SuperNodes ask every few seconds for what there is to send
        played.let_go("slow", 3)
        first, second, third, fourth = played.finish()
    assert lost_of(first) == {}
    assert lost_of(second) == {"fast": "no reply within 150 s"}
    assert lost_of(third) == {"fast": "not asked, still at work on round 2"}
    assert fourth["late"] == [{"id": "fast", "round": 2}]
    assert [row["id"] for row in fourth["clients"]] == ["slow", "fast"]


def test_a_client_whose_disk_is_full_is_lost_until_there_is_room(pair, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("making a file system that can be full takes root")
    disk = tmp_path / "state" / "1"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        with drill(tmp_path, pair, 3) as played:
            for client in FLEET:
                played.node(client)
            played.hold("fast", 2)
            played.hold("fast", 3)
            played.begin()
            played.until_it_trains("fast", 2)
            with pytest.raises(OSError, match="No space left"):
                (disk / "full").write_bytes(bytes(2 << 20))
            played.let_go("fast", 2)
            played.until_it_trains("fast", 3)
            (disk / "full").unlink()
            played.let_go("fast", 3)
            first, second, third = played.finish()
    finally:
        subprocess.run(["umount", disk], check=True)
    assert lost_of(first) == lost_of(third) == {}
    assert lost_of(second).keys() == {"fast"}
    assert "No space left" in lost_of(second)["fast"]
