"""Which connection is given up where there are too many."""

from __future__ import annotations

import pytest

from quadra.web.serving.connections import Connections, network_of


class Peer:
    def __init__(self, address: str) -> None:
        self.address = address


def connected(connections: Connections[Peer], address: str, count: int) -> list[Peer]:
    peers = [Peer(address) for _ in range(count)]
    for peer in peers:
        connections.add(peer)
    return peers


def test_an_address_at_its_limit_loses_the_one_that_has_waited_longest() -> None:
    connections = Connections[Peer](most=10, most_of_an_address=3)
    first, second, _ = connected(connections, "a", 3)
    assert connections.to_give_up_for("b") is None
    assert connections.to_give_up_for("a") is first
    connections.serve(first)
    assert connections.to_give_up_for("a") is second
    connections.wait(first)  # it has been answered, and waits shortest now
    assert connections.to_give_up_for("a") is second


def test_one_that_is_served_is_never_given_up() -> None:
    connections = Connections[Peer](most=3, most_of_an_address=2)
    for peer in connected(connections, "a", 3):
        connections.serve(peer)
    assert connections.to_give_up_for("a") is None
    assert connections.to_give_up_for("b") is None
    assert not connections.has_room


def test_where_there_are_too_many_in_all_the_address_that_has_most_loses_one() -> None:
    connections = Connections[Peer](most=4, most_of_an_address=4)
    (patient,) = connected(connections, "b", 1)
    first, *_ = connected(connections, "a", 3)
    assert connections.has_room
    assert connections.to_give_up_for("c") is first
    for peer in list(connections):
        if peer is not patient:
            connections.serve(peer)
    assert connections.to_give_up_for("c") is patient


def test_what_is_gone_counts_no_more() -> None:
    connections = Connections[Peer](most=2, most_of_an_address=2)
    peers = connected(connections, "a", 2)
    for peer in peers:
        connections.remove(peer)
    assert (len(connections), connections.waiting(), connections.longest_waiting()) == (0, [], None)
    assert peers[0] not in connections


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("a:b", "a:b"),
    ],
)
def test_an_address_is_what_one_machine_has(address: str, network: str) -> None:
    assert network_of(address) == network
