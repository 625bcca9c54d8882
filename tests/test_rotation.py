"""Of what rotates, a run draws as many cases as the marker says, by its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.helpers.rotation import not_in_turn

CASES = """
import pytest

class One: pass
class Two: pass

@pytest.mark.rotates(2, per="kind")
@pytest.mark.parametrize("kind", [One, Two, "three"])
@pytest.mark.parametrize(("number", "size"), [(n, 2 * n) for n in range(9)])
def test_of_each_kind(kind, number, size): pass

@pytest.mark.rotates(3)
@pytest.mark.parametrize("number", range(9))
def test_of_all(number): pass

@pytest.mark.parametrize("number", range(4))
def test_every_one(number): pass
"""
pytest_plugins = ["pytester"]


def drawn(pytester: pytest.Pytester, seed: int) -> list[pytest.Item]:
    items = pytester.getitems(CASES)
    left_out = not_in_turn(items, seed)
    return [item for item in items if item not in left_out]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")
def test_so_many_cases_are_drawn_for_each_value_and_another_seed_draws_others(pytester: pytest.Pytester) -> None:
    first, again, other = drawn(pytester, 1), drawn(pytester, 1), drawn(pytester, 2)
    counts = Counter(item.nodeid.partition("[")[0].rpartition("::")[2] for item in first)
    assert counts == {"test_of_each_kind": 6, "test_of_all": 3, "test_every_one": 4}
    kinds = Counter(item.callspec.params["kind"] for item in first if "each_kind" in item.nodeid)  # type: ignore[attr-defined]
    assert set(kinds.values()) == {2}
    assert [item.name for item in first] == [item.name for item in again] != [item.name for item in other]
