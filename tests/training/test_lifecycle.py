"""The life cycle is the contract's table, pair by pair."""

import pytest

from quadra.errors import RefusedError
from quadra.training.lifecycle import Command, SystemState, next_state, refusals

U, R, T = SystemState.UNINITIALIZED, SystemState.READY, SystemState.TRAINING
CONTRACT = {
    Command.INITIALIZE: (R, R, None),
    Command.START: (None, T, None),
    Command.STOP: (None, None, R),
    Command.LOAD: (R, R, None),
    Command.RESET: (U, U, U),
}


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("state", SystemState)
def test_every_pair_leads_where_the_contract_says_or_is_refused_with_a_reason(
    state: SystemState, command: Command
) -> None:
    expected = CONTRACT[command][(U, R, T).index(state)]
    if expected is None:
        with pytest.raises(RefusedError, match=r"\w+"):
            next_state(state, command)
        assert refusals(state)[command.value]
    else:
        assert next_state(state, command) is expected
        assert refusals(state)[command.value] is None
