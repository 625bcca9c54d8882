"""QuadraMatrix: a small brain-like system that trains in the background and never forgets.

from quadra import TrainingConfig, TrainingState, read_saved
"""

from typing import TYPE_CHECKING, Any

from quadra.config import TrainingConfig
from quadra.release import __version__

if TYPE_CHECKING:
    from quadra.persistence import read as read_saved
    from quadra.state import TrainingState

__all__ = ["TrainingConfig", "TrainingState", "__version__", "read_saved"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: the page is served meanwhile."""
    if name == "TrainingState":
        from quadra.state import TrainingState

        return TrainingState
    if name == "read_saved":
        from quadra.persistence import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
