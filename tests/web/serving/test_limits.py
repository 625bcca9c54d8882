"""How many connections a process may have."""

from __future__ import annotations

import resource

import pytest

from quadra.web.serving.limits import MOST_CONNECTIONS, limits_for, raise_limit_of_open_files


@pytest.mark.parametrize("open_files", [64, 256, 1024, 20_000])
def test_connections_leave_files_to_everything_else(open_files: int) -> None:
    limits = limits_for(open_files, behind_proxy=False)
    assert limits.connections <= min(MOST_CONNECTIONS, max(open_files - 400, open_files // 2))
    assert limits.of_an_address < limits.connections


def test_a_proxy_may_have_all_connections() -> None:
    limits = limits_for(20_000, behind_proxy=True)
    assert limits.of_an_address == limits.connections == MOST_CONNECTIONS


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        assert raise_limit_of_open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raise_limit_of_open_files() in (hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
