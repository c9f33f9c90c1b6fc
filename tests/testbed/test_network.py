"""The commands that make and shape links."""

import pytest

from airtune.testbed.network import (
    client_address,
    link_commands,
    run_all,
    server_address,
    server_device,
    shape_commands,
)


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
    down, up = shape_commands(2, 77, 8e6, 1e6)
    assert (down[0], option(down, "dev"), option(down, "rate")) == ("tc", server_device(2), "8000000bit")
    assert up[:3] == ["nsenter", "--target=77", "--net"]
    assert (option(up, "dev"), option(up, "rate")) == ("eth0", "1000000bit")


@pytest.mark.parametrize("rate", [1e3, 1e6, 1e9])
def test_a_bucket_holds_a_frame_and_little_beside_a_transfer(rate):
    for command in shape_commands(0, 1, rate, rate):
        burst, limit = (int(option(command, name)) for name in ("burst", "limit"))
        assert 1514 < burst <= max(0.02 * rate / 8, 4096)
        assert limit >= burst


def test_a_command_that_fails_is_named_with_what_it_said(tmp_path):
    with pytest.raises(OSError, match=r"ls .*gone.*No such file"):
        run_all([["true"], ["ls", str(tmp_path / "gone")]])
