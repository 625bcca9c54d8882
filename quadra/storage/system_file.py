"""The system state, `system_state.pkl`, and the three complete files of a state that is kept by itself.

The system state repeats what people and scripts ask for. Nothing in it is needed: the weights file holds the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quadra.config import TrainingConfig
from quadra.storage import metrics_file
from quadra.storage.files import safe_pickle
from quadra.storage.files.durable import Piece
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS
from quadra.storage.save_record import FORMAT_VERSION, SaveRecord
from quadra.storage.saved_state import SavedState

_LONGEST_PATH = (
    1000  # characters of a corpus path; a longer one is left to the weights file, so that this one stays small
)


def encode_system(record: SaveRecord, config: TrainingConfig, engine: Mapping[str, Any]) -> list[Piece]:
    """Returns the content of the file; `engine`: its `neuroplasticity` and `corpus` are used."""
    manager = dict(engine["neuroplasticity"])
    return [
        safe_pickle.dumps(
            {
                "format_version": FORMAT_VERSION,
                "run": record.run,
                "sequence": record.sequence,
                "field_size": config.field_size,
                "is_initialized": True,
                "integrity_strikes": manager["integrity_strikes"],
                "neuroplasticity": manager,
                "iteration_count": record.iteration_count,
                "configuration": _brief(config),
                "seed": record.seed,
                "corpus_fingerprint": engine["corpus"]["fingerprint"],
                "saved_at": record.saved_at,
                "ended": record.ended,
                "chosen": record.load_rank,
                "history_sha256": record.history_sha256,
                "program": record.program,
            }
        )
    ]


def complete_files(state: SavedState, weights: bytes) -> dict[str, list[Piece]]:
    """Returns the three files of a state by name; `weights`: its sealed weights file, which stays as it is."""
    pieces, _ = metrics_file.encode(state.record.run, state.rows)
    system = encode_system(state.record, state.config, state.engine)
    return {METRICS: [*pieces], SYSTEM: system, WEIGHTS: [weights]}


def _brief(config: TrainingConfig) -> dict[str, Any]:
    values = config.as_dict()
    return {**values, "corpus": None} if len(config.corpus or "") > _LONGEST_PATH else values
