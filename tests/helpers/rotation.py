"""What a run draws by its seed from all that passes, so that every run tries something else and none takes long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

import pytest

_Choice = TypeVar("_Choice")


class Draw:
    """Draws some of many choices; with --all it draws all of them."""

    def __init__(self, seed: str, draws_all: bool) -> None:
        self.draws_all = draws_all
        self._chance = Random(seed)

    def __call__(self, choices: Sequence[_Choice], count: int) -> list[_Choice]:
        """Returns `count` of the choices, in their order; all where there are fewer."""
        if self.draws_all or count >= len(choices):
            return list(choices)
        return [choices[place] for place in sorted(self._chance.sample(range(len(choices)), count))]


EVERYTHING = Draw("", draws_all=True)


def not_in_turn(items: Sequence[pytest.Item], seed: int) -> set[pytest.Item]:
    """Returns, of each test marked `rotates(count, per=...)`, the cases that this seed does not draw.

    `count` cases are drawn for each combination of the values of the parameters in `per`.
    """
    groups: defaultdict[tuple[str, ...], list[pytest.Item]] = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("rotates")
        if marker is not None:
            per = marker.kwargs.get("per", ())
            names = (per,) if isinstance(per, str) else per
            values = [_name(item.callspec.params[name]) for name in names]  # type: ignore[attr-defined]
            groups[item.nodeid.partition("[")[0], str(marker.args[0]), *values].append(item)
    left_out: set[pytest.Item] = set()
    for key, cases in groups.items():
        drawn = Draw(f"{seed} {key}", draws_all=False)(cases, int(key[1]))
        left_out |= set(cases) - set(drawn)
    return left_out


def _name(value: Any) -> str:
    """Returns what names a parameter's value in every process; pytest's own `indices` number the cases, not the values."""
    return str(getattr(value, "__qualname__", value))
