"""Connections: which there are, how many of which address, and which one is given up where there are too many."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class HasAddress(Protocol):
    """A connection, as far as it is looked at here."""

    address: str


C = TypeVar("C", bound=HasAddress)


class Connections(Generic[C]):
    """All connections. One waits while it has no complete request, and is given up only then, the longest waiting first."""

    def __init__(self, most: int, most_of_an_address: int) -> None:
        self._most, self._most_of_an_address = most, most_of_an_address
        self._counts: Counter[str] = Counter()
        self._all: set[C] = set()
        self._waiting: dict[str, dict[C, None]] = {}  # of each address, in the order in which they began to wait

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, connection: C) -> bool:
        return connection in self._all

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._all))

    def waiting(self) -> list[C]:
        """Returns those that have no complete request."""
        return [connection for ours in self._waiting.values() for connection in ours]

    @property
    def has_room(self) -> bool:
        """Whether one more may come, be it in another's place."""
        return len(self._all) < self._most or bool(self._waiting)

    def to_give_up_for(self, address: str) -> C | None:
        """Returns the connection to give up so that one more of an address may come; None where there is room, or none to
        give up."""
        if self._counts[address] >= self._most_of_an_address and address in self._waiting:
            return next(iter(self._waiting[address]))
        return self.longest_waiting() if len(self._all) >= self._most else None

    def longest_waiting(self) -> C | None:
        """Returns the one that has waited longest of the address that has most; None where none waits."""
        if not self._waiting:
            return None
        return next(iter(self._waiting[max(self._waiting, key=self._counts.__getitem__)]))

    def add(self, connection: C) -> None:
        """Adds a connection, which waits."""
        self._all.add(connection)
        self._counts[connection.address] += 1
        self.wait(connection)

    def wait(self, connection: C) -> None:
        """Notes that a connection begins to wait."""
        self._waiting.setdefault(connection.address, {})[connection] = None

    def serve(self, connection: C) -> None:
        """Notes that a connection has a complete request."""
        ours = self._waiting.get(connection.address, {})
        ours.pop(connection, None)
        if not ours:
            self._waiting.pop(connection.address, None)

    def remove(self, connection: C) -> None:
        """Forgets a connection."""
        self.serve(connection)
        self._all.discard(connection)
        self._counts[connection.address] -= 1
        if self._counts[connection.address] <= 0:
            del self._counts[connection.address]


def network_of(address: str) -> str:
    """Returns what counts as one address: of IPv6 the network of 64 bits, whose addresses one machine has all."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
