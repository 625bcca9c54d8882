"""Activity frames as a browser unpacks them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL = 32_767  # what stands for 1 in a field that is sent in two bytes a cell


def decoded(text: str, kind: str) -> NDArray[Any]:
    """An array as a browser unpacks it."""
    return np.frombuffer(base64.b64decode(text), kind)
