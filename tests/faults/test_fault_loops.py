"""Whatever fails, dies or is forgotten in a save, a load or a reset: what is on the disk is a state that was saved.

Each run draws some operations of every scenario; --all tries every fault at every operation.
"""

from __future__ import annotations

import pytest

from tests.helpers.fault_loops import Stages, Tally, cut_power_at, fail_at
from tests.helpers.faults import FAULTS, IO_ERROR, NO_SPACE, SHORT_WRITE
from tests.helpers.rotation import Draw
from tests.helpers.scenarios import SCENARIOS

_RECOVERY_CUT_AFTER = 20  # at every so many-th operation the recovery from a power cut is cut as well


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.name)
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Of each scenario, what stands before it is built once."""
    return Stages(request.param, tmp_path_factory.mktemp("stages"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_operation_loses_nothing_that_was_saved(stages: Stages, fault: str, draw: Draw) -> None:
    tally, numbers = Tally(), draw(stages.operations(fault), 1)
    fail_at(stages, numbers, fault, lasting=False, tally=tally)
    assert tally.total(fault) == len(numbers)
    assert numbers or fault == SHORT_WRITE


@pytest.mark.rotates(4, per="fault")
@pytest.mark.parametrize("fault", [NO_SPACE, IO_ERROR, SHORT_WRITE])
def test_a_fault_that_lasts_loses_nothing_that_was_saved(stages: Stages, fault: str, draw: Draw) -> None:
    fail_at(stages, draw(stages.operations(fault), 1), fault, lasting=True, tally=Tally())


def test_a_power_cut_at_any_point_loses_nothing_that_was_saved(stages: Stages, draw: Draw) -> None:
    tally, points = Tally(), stages.power_cuts()
    cut_power_at(stages, {*draw(points, 1), points[-1]}, tally, subsets=1)
    assert tally.points


@pytest.mark.rotates(4)
def test_a_power_cut_in_the_recovery_from_one_loses_nothing_that_was_saved(stages: Stages, draw: Draw) -> None:
    points = draw(stages.power_cuts()[::_RECOVERY_CUT_AFTER], 1)
    cut_power_at(stages, points, Tally(), subsets=0, nested=1, recovery=draw)
