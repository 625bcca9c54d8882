"""Pickle files of plain data: written for stock tools, read without ever running what is in them.

A checksum stands behind the end of the pickle, where stock tools do not look.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from quadra.errors import DamagedFileError, unreadable

PROTOCOL = 4  # arrays then need no more than the three names below

_ARRAY_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")  # since and before numpy 2
_SEAL_MARK = b"\nsha256:"
_SEAL_SIZE = len(_SEAL_MARK) + 64  # hexadecimal digits of a SHA-256
_NUMBER_KINDS = "biuf"  # booleans, whole numbers, floats
_FEWEST = 1000  # objects that a file of any size may hold
_FLOAT = np.dtype([("operation", "u1"), ("value", ">f8")])  # as a pickle holds one
_FLOATS_AT_ONCE = 1024  # stock pickle writes lists in pieces of a thousand
_BYTES_OF_ONE = 3  # of a file, for each further one: a list of numpy numbers, the densest plain data, has four in 15


def dumps(values: dict[str, Any]) -> bytes:
    """Returns the values as a sealed pickle that holds nothing but builtins and numpy arrays."""
    content = pickle.dumps(values, protocol=PROTOCOL)
    return content + _seal_of(content)


def loads(content: bytes, file: str | Path, arrays: bool) -> dict[str, Any]:
    """Returns the dictionary in a pickle of builtins; `arrays`: also numpy numbers and arrays of numbers.

    Raises DamagedFileError, naming the file, for anything else and for a broken seal; no code in the file is run. Raises
    InaccessibleFileError where memory runs out.
    """
    pickled = content[:-_SEAL_SIZE] if content[-_SEAL_SIZE:].startswith(_SEAL_MARK) else content
    if pickled is not content and not content.endswith(_seal_of(pickled)):
        raise DamagedFileError(file, "its checksum does not fit its content: it was altered or damaged")
    stream = io.BytesIO(pickled)
    try:
        values = _PlainUnpickler(stream, arrays, len(pickled)).load()
    except Exception as error:  # a forged or damaged pickle can raise anything at all
        raise unreadable(file, f"cannot be read as plain data: {error or type(error).__name__}", error) from error
    if stream.read():
        raise DamagedFileError(file, "has something behind its end that is not its checksum: it was altered or damaged")
    if not isinstance(values, dict):
        raise DamagedFileError(file, f"holds a {type(values).__name__}, not the dictionary that belongs there")
    return values


def _seal_of(content: bytes) -> bytes:
    return _SEAL_MARK + hashlib.sha256(content).hexdigest().encode()


class _PlainUnpickler(pickle._Unpickler):
    """The unpickler that is written in Python: its operations can be taken away one by one."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: io.BytesIO, arrays: bool, size: int) -> None:
        super().__init__(stream)
        self._stream = stream
        self._arrays = arrays
        self._bytes_left = size  # that arrays may have: each brings its own
        self._objects_left = _FEWEST + size // _BYTES_OF_ONE

    def find_class(self, module: str, name: str) -> Any:
        if self._arrays:
            found = _array_part(module, name)
            if found is not None:
                return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")

    def _build(self) -> None:
        """Sets the state of an array or a number type; nothing else that is plain data has one."""
        target, state = self.stack[-2:]  # type: ignore[attr-defined]  # the stubs leave the operations' stack out
        if type(target) is not np.ndarray and not (isinstance(target, np.dtype) and _is_byte_order(state)):
            raise pickle.UnpicklingError("it sets the state of something that is not an array of numbers")
        pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]  # the stubs leave the operations out
        if isinstance(target, np.ndarray):
            self._bytes_left -= target.nbytes
        if self._bytes_left < 0:
            raise pickle.UnpicklingError("its arrays have more bytes than it has")

    def _load_floats(self) -> None:
        """Puts a float on the stack, and at once those that directly follow it: a million by themselves take two seconds."""
        pickle._Unpickler.load_binfloat(self)  # type: ignore[attr-defined]  # the stubs leave the operations out
        stream = self._unframer.current_frame or self._stream  # type: ignore[attr-defined]
        start = stream.tell()
        with stream.getbuffer() as content:
            following = _floats_at(content[start : start + _FLOATS_AT_ONCE * _FLOAT.itemsize])
        stream.seek(start + len(following) * _FLOAT.itemsize)
        self.stack.extend(following)  # type: ignore[attr-defined]

    @staticmethod
    def _counted(operation: Callable[[_PlainUnpickler], None]) -> Callable[[_PlainUnpickler], None]:
        """Returns an operation that fails after too many calls.

        A byte or two in the file make an object of a hundred bytes: a small file could claim all memory.
        """

        def run(self: _PlainUnpickler) -> None:
            self._objects_left -= 1
            if self._objects_left < 0:
                raise pickle.UnpicklingError("it makes more objects than plain data of its size has")
            operation(self)

        return run

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("it uses an operation that plain data does not need")

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BINFLOAT[0]] = _load_floats
    for _operation in (
        pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EXT1, pickle.EXT2, pickle.EXT4,
        pickle.PERSID, pickle.BINPERSID, pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX,
        pickle.EMPTY_SET, pickle.FROZENSET,
    ):  # fmt: skip
        dispatch[_operation[0]] = _refuse
    for _operation in (
        pickle.MARK, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
        pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT, pickle.PUT,
    ):  # fmt: skip
        dispatch[_operation[0]] = _counted(dispatch[_operation[0]])


def _floats_at(content: memoryview) -> list[float]:
    """Returns the floats that a part of a pickle begins with, one directly after the other."""
    with content:
        if bytes(content[:1]) != pickle.BINFLOAT:
            return []
        entries = np.frombuffer(content, _FLOAT, len(content) // _FLOAT.itemsize)
        others = np.flatnonzero(entries["operation"] != pickle.BINFLOAT[0])
        values: list[float] = entries["value"][: others[0] if len(others) else None].tolist()
        del entries
        return values


def _array_part(module: str, name: str) -> Callable[..., Any] | None:
    """Returns what numpy's own pickles name, in a form that can make arrays of numbers only; None for other names."""
    if module in _ARRAY_MODULES and name == "_reconstruct":
        return _empty_array
    if module in _ARRAY_MODULES and name == "scalar":
        return _scalar
    if module == "numpy" and name == "ndarray":
        return _array_class
    if module == "numpy" and name == "dtype":
        return _number_type
    return None


def _is_byte_order(state: object) -> bool:
    """Whether a number type's state says no more than its byte order, as numpy writes it."""
    return state in [(3, order, None, None, None, -1, -1, 0) for order in "<>|="]


def _array_class(*_: object) -> None:
    """Stands for the class where `_reconstruct` is given it; calling it would be a way to claim memory."""
    raise pickle.UnpicklingError("it calls numpy.ndarray, which plain data does not need")


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
    """Returns the start of every pickled array: its shape and bytes follow, and numpy checks that they fit each other."""
    del kind, shape, code  # always ndarray, (0,) and b"b"; a forged shape would only claim memory
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _number_type(code: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    del align, copy  # numpy writes them; a copy is always made, since a byte order is set on it afterwards
    number_type = np.dtype(code, False, True)
    if number_type.kind not in _NUMBER_KINDS:
        raise pickle.UnpicklingError(f"it holds {code!r}, which is not a number")
    return number_type


def _scalar(number_type: np.dtype[Any], content: bytes) -> Any:
    return np.frombuffer(content, number_type, count=1)[0].item()
