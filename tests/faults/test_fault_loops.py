"""Whatever fails, dies or is forgotten in a save, a load or a reset: what is on the disk is a state that was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fault_loops import Scenario, Stages, Tally, cut_power_everywhere, fail_everywhere
from tests.helpers.faults import IO_ERROR, KILLED, NO_SPACE, SHORT_WRITE
from tests.helpers.scenarios import SCENARIOS

_STRIDE = 4  # killed, no space and I/O error take turns at the operations; the matrix has each of them at all

_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@_each_scenario
@pytest.mark.parametrize(("fault", "start"), [(KILLED, 1), (NO_SPACE, 2), (IO_ERROR, 3), (SHORT_WRITE, 1)])
def test_a_fault_at_any_operation_loses_nothing_that_was_saved(
    scenario: Scenario, fault: str, start: int, tmp_path: Path
) -> None:
    tally = Tally()
    fail_everywhere(Stages(scenario, tmp_path), fault, lasting=False, tally=tally, start=start, stride=_STRIDE)
    assert tally.total(fault) > 0 or fault == SHORT_WRITE


@_each_scenario
@pytest.mark.parametrize("fault", [NO_SPACE, IO_ERROR, SHORT_WRITE])
def test_a_fault_that_lasts_loses_nothing_that_was_saved(scenario: Scenario, fault: str, tmp_path: Path) -> None:
    fail_everywhere(Stages(scenario, tmp_path), fault, lasting=True, tally=Tally(), stride=4 * _STRIDE)


@_each_scenario
def test_a_power_cut_at_any_point_loses_nothing_that_was_saved(scenario: Scenario, tmp_path: Path) -> None:
    tally = Tally()
    cut_power_everywhere(Stages(scenario, tmp_path), tally, subsets=1, nested=60, stride=2)
    assert tally.points
