"""The commands that make and shape links."""

import os
import signal
import subprocess
import sys
import time

import pytest

from airtune import AirtuneError
from airtune.testbed.machine import check_machine
from airtune.testbed.network import (
    client_address,
    link_commands,
    run_all,
    server_address,
    server_device,
    shape_commands,
)
from airtune.testbed.node import held_namespace


def test_every_client_has_a_network_of_its_own():
    numbers = range(600)
    addresses = [*map(server_address, numbers), *map(client_address, numbers)]
    assert len(set(addresses)) == len(addresses)
    assert all(0 <= int(part) < 256 for address in addresses for part in address.split("."))
    # In one /30, whose first and last address are no hosts'.
    for number in numbers:
        server, client = server_address(number).split("."), client_address(number).split(".")
        assert server[:3] == client[:3]
        assert (server[3], client[3]) == ("1", "2")
    assert all(len(server_device(number)) < 16 for number in numbers)  # as long as Linux takes


def test_both_ends_of_a_link_get_addresses_in_their_own_namespaces():
    commands = [" ".join(command) for command in link_commands(3, 1234)]
    assert any(f"peer name {server_device(3)}" in one and "netns 1234" in one for one in commands)
    (at_server,) = [one for one in commands if server_address(3) in one]
    (at_client,) = [one for one in commands if client_address(3) in one]
    assert at_server.startswith("nsenter --target=1234 --net ")
    assert at_client.startswith("ip ")


def option(command, name):
    return command[command.index(name) + 1]


def test_downloads_are_shaped_at_the_server_and_uploads_at_the_client():
    down, up = shape_commands(2, "/proc/77/ns/net", 8e6, 1e6)
    assert (down[0], option(down, "dev"), option(down, "rate")) == ("tc", server_device(2), "8000000bit")
    assert up[:3] == ["nsenter", "--net=/proc/77/ns/net", "tc"]
    assert (option(up, "dev"), option(up, "rate")) == ("airtune", "1000000bit")


@pytest.mark.parametrize("rate", [1e3, 1e6, 1e9])
def test_a_bucket_holds_a_frame_and_little_beside_a_transfer(rate):
    for command in shape_commands(0, "/proc/1/ns/net", rate, rate):
        burst, limit = (int(option(command, name)) for name in ("burst", "limit"))
        assert 1514 < burst <= max(0.02 * rate / 8, 4096)
        assert limit >= burst


def test_a_command_that_fails_is_named_with_what_it_said(tmp_path):
    with pytest.raises(AirtuneError, match=r"ls .*gone.*No such file"):
        run_all([["true"], ["ls", str(tmp_path / "gone")]])


# Listens, or else connects and sends so many bytes; the listener says how long they took to come.
LISTEN = """
import socket, sys, time
with socket.create_server((sys.argv[1], 8000)) as server:
    print("ready", flush=True)
    with server.accept()[0] as one:
        got, begin = len(one.recv(1)), time.monotonic()
        while part := one.recv(65536):
            got += len(part)
        print(got, time.monotonic() - begin)
"""
SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 8000)) as one:
    one.sendall(bytes(int(sys.argv[2])))
"""


@pytest.fixture
def namespaces():
    """Processes that hold a server's and a client's network namespace, with the client's link made."""
    try:
        check_machine()
    except AirtuneError as error:
        pytest.skip(str(error))
    holders = [subprocess.Popen(["unshare", "--net", "sleep", "60"]) for _ in range(2)]
    try:
        own = os.readlink("/proc/self/ns/net")
        while any(os.readlink(f"/proc/{one.pid}/ns/net") == own for one in holders):
            time.sleep(0.01)
        server, client = (one.pid for one in holders)
        run_all([inside(client, command) for command in link_commands(0, server)])
        yield server, client
    finally:
        for one in holders:
            one.kill()
            one.wait()


def inside(process, command):
    return ["nsenter", f"--target={process}", "--net", *command]


def seconds(receiver, sender, address, size):
    """Of a transfer from one namespace to another."""
    listen = subprocess.Popen(
        inside(receiver, [sys.executable, "-c", LISTEN, address]), stdout=subprocess.PIPE, text=True
    )
    with listen:
        assert listen.stdout.readline() == "ready\n"
        run_all([inside(sender, [sys.executable, "-c", SEND, address, str(size)])])
        got, took = listen.stdout.read().split()
    assert int(got) == size
    return float(took)


def test_no_transfer_is_faster_than_its_direction_was_shaped_to(namespaces):
    server, client = namespaces
    down, up, size = 8e6, 2e6, 200_000
    shape = shape_commands(0, f"/proc/{client}/ns/net", down, up)
    run_all([inside(server, command) for command in shape])
    run_all([inside(server, ["ip", "link", "set", "lo", "up"])])
    downloaded = seconds(client, server, client_address(0), size)
    uploaded = seconds(server, client, server_address(0), size)
    # Headers come on top; the bucket is full at the beginning.
    assert downloaded > 8 * size / down - 0.02
    assert uploaded > 8 * size / up - 0.02


def test_a_link_is_there_to_be_shaped_when_its_client_has_ended(namespaces, tmp_path):
    server, client = namespaces
    (tmp_path / "client-0.pid").write_text(str(client))
    namespace = held_namespace(tmp_path, 0)
    os.kill(client, signal.SIGKILL)
    os.waitid(os.P_PID, client, os.WEXITED | os.WNOWAIT)
    with pytest.raises(AirtuneError, match="client 0 has ended"):
        held_namespace(tmp_path, 0)
    run_all([inside(server, command) for command in shape_commands(0, namespace, 8e6, 2e6)])
