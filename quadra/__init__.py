"""QuadraMatrix: a small brain-like system that trains in the background and never forgets.

from quadra import TrainingConfig, TrainingState
"""

from typing import TYPE_CHECKING, Any

from quadra.config import TrainingConfig

if TYPE_CHECKING:
    from quadra.state import TrainingState

__version__ = "0.1.0"
__all__ = ["TrainingConfig", "TrainingState", "__version__"]


def __getattr__(name: str) -> Any:
    """Import TrainingState, and torch with it, only when it is asked for: the page is served meanwhile."""
    if name == "TrainingState":
        from quadra.state import TrainingState

        return TrainingState
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
