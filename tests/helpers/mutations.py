"""Files that were damaged, lost, exchanged or written by another version: every kind, at random places."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random

from quadra.storage.layout import METRICS, METRICS_COPY, RUNS, SAVES, SYSTEM, WEIGHTS
from quadra.storage.save_record import SaveRecord, seal, verify
from tests.helpers.faults import Image

Files = dict[str, bytes]  # by their path in the folder


def files_in(image: Image) -> Files:
    """The files of saved states in an image of a folder."""
    names = {WEIGHTS, METRICS, SYSTEM, METRICS_COPY}
    return {
        path: content
        for path, content in image.items()
        if content is not None and (PurePosixPath(path).name in names or path.startswith(f"{SAVES}/"))
    }


def flipped(content: bytes, chance: Random) -> bytes:
    """One to three bits are not what they were."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(content: bytes, chance: Random) -> bytes:
    """The end is missing."""
    return content[: chance.randrange(len(content))]


def zeroed(content: bytes, chance: Random) -> bytes:
    """A stretch was never written."""
    start = chance.randrange(len(content))
    length = min(chance.choice((1, 16, 512, 4096)), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def lengthened(content: bytes, chance: Random) -> bytes:
    """Something stands behind the end."""
    return content + chance.randbytes(chance.choice((1, 100, 5000)))


def inserted(content: bytes, chance: Random) -> bytes:
    """Something stands in the midst."""
    start = chance.randrange(len(content))
    return content[:start] + chance.randbytes(chance.choice((1, 16))) + content[start:]


def empty(content: bytes, chance: Random) -> bytes:
    """Nothing is left."""
    del content, chance
    return b""


def of_another_version(content: bytes, chance: Random) -> bytes:
    """Written by a newer program: the same, with a higher format; what has no such number gets a changed byte."""
    if content.startswith(b"PK"):
        record = verify(content, "")
        assert record is not None
        start = content.rfind(b"PK\x05\x06")
        archive = [content[:start], content[start : start + 20] + b"\0\0"]
        return b"".join(bytes(piece) for piece in seal(archive, SaveRecord(**{**vars(record), "format_version": 9})))
    newer = re.sub(rb"(format_version\x94K)\x02", lambda found: found.group(1) + b"\x09", content)
    return newer if newer != content else flipped(content, chance)


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flipped, flipped, flipped, cut, cut, zeroed, lengthened, inserted, empty, of_another_version,
)  # fmt: skip


KINDS = (*dict.fromkeys(damage.__name__ for damage in DAMAGES), "gone", "exchanged")


class Mutation:
    """Some files of a folder damaged, lost or exchanged; a function of its seed."""

    def __init__(self, files: Files, seed: int) -> None:
        chance = Random(seed)
        self.files: dict[str, bytes | None] = {}  # what is different now; None: the file is gone
        self.kinds: list[str] = []
        self.text = ""
        for _ in range(chance.choices((1, 2, 3), (7, 2, 1))[0]):
            self._mutate(files, chance)
        self.files = {path: content for path, content in self.files.items() if content != files[path]}

    def _mutate(self, files: Files, chance: Random) -> None:
        weighted = [path for path in files for _ in range(1 if path.startswith((f"{SAVES}/", RUNS)) else 4)]
        path = chance.choice(weighted)
        number = chance.randrange(len(DAMAGES) + 2)
        if number < len(DAMAGES):
            self.files[path] = DAMAGES[number](files[path], chance)
            self._note(path, DAMAGES[number].__name__)
        elif number == len(DAMAGES):
            self.files[path] = None
            self._note(path, "gone")
        else:
            alike = [other for other in files if PurePosixPath(other).suffix == PurePosixPath(path).suffix]
            other = chance.choice(alike)
            self.files[path], self.files[other] = files[other], files[path]
            self._note(path, "exchanged", f" for {other}")

    def _note(self, path: str, kind: str, more: str = "") -> None:
        self.kinds.append(kind)
        self.text += f"{path} {kind}{more}; "

    def apply(self, image: Image) -> dict[str, bytes | None]:
        """The image with these differences."""
        changed = dict(image)
        for path, content in self.files.items():
            if content is None:
                del changed[path]
            else:
                changed[path] = content
        return changed
