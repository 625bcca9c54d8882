"""Pickle files of plain data: written for stock tools, read without ever running what is in them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from quadra.errors import DamagedFileError

PROTOCOL = 4  # arrays then need no more than the three names below

_ARRAY_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")  # since and before numpy 2
_NUMBER_KINDS = "biuf"  # booleans, whole numbers, floats


def dumps(values: dict[str, Any]) -> bytes:
    """The values as a pickle that holds nothing but builtins and numpy arrays."""
    return pickle.dumps(values, protocol=PROTOCOL)


def loads(content: bytes, file: str, arrays: bool) -> dict[str, Any]:
    """The dictionary in a pickle of builtins, and numpy numbers and arrays of numbers where `arrays` is true.

    Raises DamagedFileError, naming the file, for anything else; no code in the file is run.
    """
    try:
        values = _PlainUnpickler(io.BytesIO(content), arrays).load()
    except Exception as error:  # a forged or damaged pickle can raise anything at all
        raise DamagedFileError(file, f"cannot be read as plain data: {error or type(error).__name__}") from error
    if not isinstance(values, dict):
        raise DamagedFileError(file, f"holds a {type(values).__name__}, not the dictionary that belongs there")
    return values


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, arrays: bool) -> None:
        super().__init__(stream)
        self._arrays = arrays

    def find_class(self, module: str, name: str) -> Any:
        if self._arrays:
            found = _array_part(module, name)
            if found is not None:
                return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")


def _array_part(module: str, name: str) -> Callable[..., Any] | type | None:
    """What numpy's own pickles name, each in a form that can make arrays of numbers only."""
    if module in _ARRAY_MODULES and name == "_reconstruct":
        return _empty_array
    if module in _ARRAY_MODULES and name == "scalar":
        return _scalar
    if module == "numpy" and name == "ndarray":
        return np.ndarray
    if module == "numpy" and name == "dtype":
        return _number_type
    return None


def _empty_array(kind: type, shape: object, code: object) -> np.ndarray[Any, Any]:
    """The start of every pickled array: its shape and bytes follow, and numpy checks that they fit each other."""
    del kind, shape, code  # always ndarray, (0,) and b"b"; a forged shape would only claim memory
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _number_type(code: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    del align, copy  # numpy writes them, plain numbers do not use them
    number_type = np.dtype(code)
    if number_type.kind not in _NUMBER_KINDS:
        raise pickle.UnpicklingError(f"it holds {code!r}, which is not a number")
    return number_type


def _scalar(number_type: np.dtype[Any], content: bytes) -> Any:
    return np.frombuffer(content, number_type, count=1)[0].item()
