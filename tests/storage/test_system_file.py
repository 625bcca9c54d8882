"""The system state: stock pickle reads it with builtins alone, and it stays small."""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import replace
from pathlib import Path

import pytest

from quadra.storage.layout import SYSTEM
from quadra.storage.save_record import FORMAT_VERSION
from quadra.storage.saved_state import SavedState
from tests.helpers.state_helpers import saved_states, write_state


@pytest.fixture(scope="module")
def saves() -> list[SavedState]:
    """Three saves of one run."""
    return saved_states(2, 3, 5)


def test_stock_pickle_reads_the_system_state_with_builtins_only(folder: Path, saves: list[SavedState]) -> None:
    content = (folder / "system_state.pkl").read_bytes()
    assert modules_named(content) == set()
    system = pickle.loads(content)
    manager = saves[-1].engine["neuroplasticity"]
    expected = {
        "format_version": FORMAT_VERSION,
        "field_size": 8,
        "is_initialized": True,
        "integrity_strikes": manager["integrity_strikes"],
        "neuroplasticity": manager,
        "iteration_count": 5,
        "seed": 1,
        "configuration": saves[-1].config.as_dict(),
    }
    assert {name: system[name] for name in expected} == expected
    assert type(system["neuroplasticity"]) is dict


def modules_named(content: bytes) -> set[str]:
    """The modules that a pickle takes something from."""
    opcodes = list(pickletools.genops(content))
    assert not {opcode.name for opcode, _, _ in opcodes} & {
        "GLOBAL",
        "INST",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
    }
    named: set[str] = set()
    texts: list[str] = []
    memo: dict[int, str | None] = {}
    for opcode, argument, _ in opcodes:
        if opcode.name in {"SHORT_BINUNICODE", "BINUNICODE"}:
            texts.append(str(argument))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else None
        elif opcode.name in {"BINGET", "LONG_BINGET"}:
            texts.append(memo[int(str(argument))] or "")
        elif opcode.name == "STACK_GLOBAL":
            named.add(texts[-2])
    return named


@pytest.mark.parametrize("corpus", [None, "/" + "/".join(["folder of texts"] * 20)])
def test_the_system_state_is_small(tmp_path: Path, saves: list[SavedState], corpus: str | None) -> None:
    place = {**saves[0].engine["corpus"], "path": corpus}
    state = replace(
        saves[0], config=replace(saves[0].config, corpus=corpus), engine={**saves[0].engine, "corpus": place}
    )
    size = (write_state(tmp_path, state) / SYSTEM).stat().st_size
    assert 500 <= size <= (2048 if corpus is None else 4096)
