"""QuadraMatrix: a small brain-like system that trains in the background and never forgets.

from quadra import TrainingConfig, TrainingState, read_saved
"""

from quadra.version import __version__

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would take longer than all of this
if TYPE_CHECKING:
    from quadra.config import TrainingConfig
    from quadra.storage.saved_state import read as read_saved
    from quadra.training.state import TrainingState

__all__ = ["TrainingConfig", "TrainingState", "__version__", "read_saved"]


def __getattr__(name: str) -> object:
    """Imports a name only when it is asked for: most of them bring torch, and a signal must be handled before anything long."""
    if name == "TrainingConfig":
        from quadra.config import TrainingConfig

        return TrainingConfig
    if name == "TrainingState":
        from quadra.training.state import TrainingState

        return TrainingState
    if name == "read_saved":
        from quadra.storage.saved_state import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
