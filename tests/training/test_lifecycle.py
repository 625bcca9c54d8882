"""The life cycle is the contract's table, pair by pair."""

import pytest

from quadra.errors import RefusedError
from quadra.training.lifecycle import LifecycleCommand, Phase, next_phase, refusals

U, R, T = Phase.UNINITIALIZED, Phase.READY, Phase.TRAINING
CONTRACT = {
    LifecycleCommand.INITIALIZE: (R, R, None),
    LifecycleCommand.START: (None, T, None),
    LifecycleCommand.STOP: (None, None, R),
    LifecycleCommand.LOAD: (R, R, None),
    LifecycleCommand.RESET: (U, U, U),
}


@pytest.mark.parametrize("command", LifecycleCommand)
@pytest.mark.parametrize("state", Phase)
def test_every_pair_leads_where_the_contract_says_or_is_refused_with_a_reason(
    state: Phase, command: LifecycleCommand
) -> None:
    expected = CONTRACT[command][(U, R, T).index(state)]
    if expected is None:
        with pytest.raises(RefusedError, match=r"\w+"):
            next_phase(state, command)
        assert refusals(state)[command.value]
    else:
        assert next_phase(state, command) is expected
        assert refusals(state)[command.value] is None
