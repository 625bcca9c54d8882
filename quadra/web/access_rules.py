"""AccessRules: which hosts and origins a request may name, which token gives which role, how a cookie keeps it.

Decisions only; `access_gate` asks for them on every request and socket. A name that an attacker's own DNS points here
(rebinding) is refused; another site's page gives itself away by its origin; a token is compared in constant time, and an
address that guesses is made to wait. itsdangerous signs the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from itsdangerous import Signer

from quadra.errors import (
    ConfigurationError,
    ForeignOriginError,
    TokenRequiredError,
    TooManyAttemptsError,
    UnknownHostError,
)

SHORTEST_TOKEN, LONGEST_TOKEN = 8, 200  # characters
COOKIE_AGE = 30 * 24 * 3600  # seconds after which a browser has to bring its token again
MOST_ATTEMPTS = 10  # wrong tokens of one address ...
WINDOW = 600.0  # ... in so many seconds
_MOST_ADDRESSES = 10_000  # that are remembered for their attempts
_GENERATED_BYTES = 24
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


class Role(StrEnum):
    """What somebody may do who was let in."""

    OPERATOR = "operator"  # everything
    WATCHER = "watcher"  # see everything, change nothing


@dataclass(frozen=True)
class AccessRules:
    """Who may come in; the defaults: everybody on this machine, nobody else."""

    is_loopback: bool = True  # whether only this machine can reach the server
    token: str | None = None  # None: whoever reaches the server may do everything
    watch_token: str | None = None
    names: frozenset[str] = frozenset()  # hosts beside the server's own addresses
    behind_proxy: bool = False  # whether one proxy's X-Forwarded-* headers are believed
    was_generated: bool = False  # whether the token is this start's own


ON_THIS_MACHINE = AccessRules()


def access_rules_for(
    address: str, token: str | None, watch_token: str | None, names: Iterable[str], behind_proxy: bool, host: str = ""
) -> AccessRules:
    """Returns the rules of a server that listens on an IP address, which was asked for as `host`.

    Without a token one is generated, unless only this machine's own addresses lead to the server. Raises
    ConfigurationError.
    """
    known = frozenset(_checked_name(name) for name in names)
    is_loopback = _is_loopback(address)
    for field, value in (("token", token), ("watch_token", watch_token)):
        _check_token(field, value)
    if watch_token is not None and watch_token == token:
        raise ConfigurationError("watch_token", "must differ from the token: who has it may only look")
    is_needed = not is_loopback or behind_proxy or bool(known) or watch_token is not None
    was_generated = token is None and is_needed
    if not is_loopback:
        known |= own_names(host)
    token = secrets.token_urlsafe(_GENERATED_BYTES) if was_generated else token
    return AccessRules(is_loopback, token, watch_token, known, behind_proxy, was_generated)


def own_names(host: str = "") -> frozenset[str]:
    """Returns names by which other machines reach this one; `host`: the address to listen on, which may be a name."""
    name = socket.gethostname().lower()
    return frozenset(filter(None, (name, name.split(".")[0], f"{name.split('.')[0]}.local", host.lower())))


def links(rules: AccessRules, address: str, port: int) -> list[str]:
    """Returns addresses that a browser can open as they stand, with a generated token; a given one is never repeated."""
    hosts = [address]
    if _is_unspecified(address):
        hosts = [socket.gethostname(), "[::1]" if ":" in address else "127.0.0.1"]
    query = f"?token={rules.token}" if rules.was_generated else ""
    return [f"http://{_bracketed(host)}:{port}/{query}" for host in hosts]


class Access:
    """Decides for every request whether it may come in, and in which role; callable from any thread.

    `clock` counts seconds for the attempts, `now` gives the time of day for cookies.
    """

    def __init__(
        self,
        rules: AccessRules,
        secret_key: bytes,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self._secret_key = secret_key
        self._now = now
        self._attempts = _Attempts(clock)
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Returns whether no token is asked for."""
        return self.rules.token is None

    def check_host(self, host: str | None) -> None:
        """Raises UnknownHostError for a Host header that this server does not go by."""
        name = _host_name(host or "")
        if name is None or not self._goes_by(name):
            raise UnknownHostError(
                f"This server does not go by the name {(host or '')[:100]!r}. Open it by its IP address (on its own machine as "
                f"localhost), or start it with --allow-host and this name."
            )

    def _goes_by(self, name: str) -> bool:
        if name == "localhost" or name in self.rules.names:
            return True
        address = _address(name)
        return address is not None and (not self.rules.is_loopback or _is_loopback(name))

    def check_origin(self, origin: str | None, scheme: str, host: str) -> None:
        """Raises ForeignOriginError where a browser says that another site's page asks; programs send no origin."""
        if origin is None:
            return
        parts = _parts_of(origin)
        if parts is None or parts != _parts_of(f"{scheme}://{host}"):
            hint = "" if self.rules.behind_proxy else " Behind a reverse proxy start the server with --proxy."
            raise ForeignOriginError(f"A page of another site ({origin[:100]!r}) may not ask this server.{hint}")

    def role_of_token(self, token: str, address: str) -> Role:
        """Returns the role that a token from an address gives. Raises TokenRequiredError, TooManyAttemptsError."""
        with self._lock:  # guesses that come at once must not all be looked at before the first is counted
            self._attempts.check(address)
            role = self._compared(token)
            if role is None:
                self._attempts.count(address)
        if role is None:
            raise TokenRequiredError(
                "This is not the server's token. Its terminal shows a link that has it, or names it."
            )
        return role

    def _compared(self, token: str) -> Role | None:
        """Makes both comparisons always, each in constant time."""
        found = [role for role in Role if _is_same(token, self._token_of(role))]
        return found[0] if found else None

    def _token_of(self, role: Role) -> str | None:
        return self.rules.token if role is Role.OPERATOR else self.rules.watch_token

    def cookie(self, role: Role) -> str:
        """Returns what a browser keeps in place of the token; another token or another key makes it worthless."""
        return self._signed(role, f"{role}.{int(self._now()) + COOKIE_AGE}")

    def role_of_cookie(self, cookie: str) -> Role | None:
        """Returns the role that a cookie was made for; None where it is forged, too old or of another token."""
        value = cookie.rpartition(".")[0]
        name, _, expires = value.partition(".")
        role = next((role for role in Role if role == name), None)
        if role is None or self._token_of(role) is None:
            return None
        if not _is_same(
            cookie, self._signed(role, value)
        ):  # as a whole: base64 may spell one signature in several ways
            return None
        return role if self._now() < int(expires) else None

    def _signed(self, role: Role, value: str) -> str:
        """Returns a value with its signature. The token is part of the key: another one makes every cookie worthless."""
        salt = f"access {role} {self._token_of(role)}"
        signer = Signer(self._secret_key, salt, key_derivation="hmac", digest_method=hashlib.sha256)
        return signer.sign(value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


class _Attempts:
    """Wrong tokens by address; for one thread at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raises TooManyAttemptsError where the address has guessed too often of late."""
        times = self._times.get(_network(address), deque())
        now = self._clock()
        while times and times[0] <= now - WINDOW:
            times.popleft()
        if len(times) >= MOST_ATTEMPTS:
            raise TooManyAttemptsError(int(times[0] + WINDOW - now) + 1)

    def count(self, address: str) -> None:
        network = _network(address)
        times = self._times.pop(network, deque())
        times.append(self._clock())
        self._times[network] = times  # the newest last: the oldest is forgotten first
        if len(self._times) > _MOST_ADDRESSES:
            del self._times[next(iter(self._times))]


def _is_same(given: str, expected: str | None) -> bool:
    """Takes the same time wherever the two differ; compares digests, so that their lengths do not show either."""
    return hmac.compare_digest(_digest(given), _digest(expected or "")) and expected is not None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _check_token(field: str, value: str | None) -> None:
    if value is None:
        return
    if not SHORTEST_TOKEN <= len(value) <= LONGEST_TOKEN or not value.isascii() or not value.isprintable():
        raise ConfigurationError(
            field,
            f"must be {SHORTEST_TOKEN} to {LONGEST_TOKEN} printable ASCII characters; a longer one is harder to guess",
        )
    if value != value.strip():
        raise ConfigurationError(field, "must not begin or end with a space")


def _checked_name(name: str) -> str:
    host = _host_name(name)
    if host is None:
        raise ConfigurationError("allow_host", f"must be a host name or an IP address, not {name[:60]!r}")
    return host


def _host_name(host: str) -> str | None:
    """Returns the name or address in a Host header, in lower case and without its port; None where there is none."""
    parts = _parts_of(f"http://{host}") if "/" not in host and "@" not in host else None
    if parts is None:
        return None
    name = parts[1].rstrip(".")
    return name if _address(name) is not None or _NAME.fullmatch(name) else None


def _parts_of(origin: str) -> tuple[str, str, int | None] | None:
    """Returns scheme, host and port, alike for one origin however it is written; None for no origin, such as `null`."""
    try:
        split = urlsplit(origin)
        port = split.port
    except ValueError:
        return None
    if split.hostname is None:
        return None
    return split.scheme, split.hostname, _PORTS.get(split.scheme) if port is None else port


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_loopback


def _is_unspecified(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_unspecified


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _network(address: str) -> str:
    """Returns whose attempts count together: whoever has one address of IPv6 has all of its /64."""
    known = _address(address)
    return known.exploded[:19] if isinstance(known, IPv6Address) else address
