"""Drills with a link that drops: what is learnt is the same."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from drills import ADAPTER, drill, lost_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def other_network() -> Iterator[tuple[str, str, str]]:
    """A network namespace with one link to this one: its name, our end of the link, and our address there."""
    name, net = f"airtune-{os.getpid()}", f"10.213.{os.getpid() % 250}"
    ours, theirs = f"at{os.getpid()}a", f"at{os.getpid()}b"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, ours, f"{net}.1"
    finally:
        ip("link", "del", ours)  # it would outlive the name as long as a process is left in there
        ip("netns", "del", name)


@pytest.mark.parametrize("when", ["it trains", "it has trained"])
def test_a_link_that_drops_for_half_a_minute_costs_nothing(when, pair, straight, tmp_path):
    """While a client trains, or as its reply is due."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of one's own takes root and iproute2")
    with other_network() as (name, link, host), drill(tmp_path, pair, 2, host, deadline="200") as played:
        played.node("slow")
        played.node("fast", within=["ip", "netns", "exec", name])
        played.hold("fast", 1)
        played.begin()
        played.until_it_trains("fast", 1)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        if when == "it has trained":
            played.let_go("fast", 1)
        time.sleep(30)
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        if when == "it trains":
            played.let_go("fast", 1)
        first, second = played.finish()
    assert lost_of(first) == lost_of(second) == {}
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (straight / ADAPTER).read_bytes()
