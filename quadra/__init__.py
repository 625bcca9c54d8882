"""QuadraMatrix: a small brain-like system that trains in the background and never forgets.

from quadra import TrainingConfig, TrainingState, read_saved
"""

from typing import TYPE_CHECKING, Any

from quadra.config import TrainingConfig
from quadra.version import __version__

if TYPE_CHECKING:
    from quadra.storage.saved_state import read as read_saved
    from quadra.training.state import TrainingState

__all__ = ["TrainingConfig", "TrainingState", "__version__", "read_saved"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: the page is served meanwhile."""
    if name == "TrainingState":
        from quadra.training.state import TrainingState

        return TrainingState
    if name == "read_saved":
        from quadra.storage.saved_state import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
