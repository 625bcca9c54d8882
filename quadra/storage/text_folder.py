"""TextFolder: the part of `StateFolder` that knows where own texts stand, and what one that was cut off on its way leaves."""

from __future__ import annotations

from pathlib import Path

from quadra.errors import FolderUnusableError
from quadra.storage.files.durable import is_plain_folder, remove, sync_folder
from quadra.storage.layout import CORPORA, TEXT_FILE, UPLOAD_ID, UPLOADED_TEXT, UPLOADS, StateLayout, own_folders


class TextFolder(StateLayout):
    """A state directory as far as its own texts go."""

    def corpora_folder(self) -> Path:
        """Where own texts stand, made where it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / CORPORA
        self._require_no_link(CORPORA)
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(self.path)
        return folder

    def text_names(self, folder: Path, form: str = "{}") -> list[str]:
        """The names in a folder that own texts have, and what stands beside them, in the form that temporaries have."""
        if not is_plain_folder(folder):
            return []
        start, end = form.split("{}")
        inner = {entry.name: entry.name.removeprefix(start).removesuffix(end) for entry in folder.iterdir()}
        return [name for name, own in inner.items() if TEXT_FILE.fullmatch(own) and name == form.format(own)]

    def _remove_half_texts(self) -> None:
        for name in self.text_names(self.path / CORPORA, ".{}.tmp"):
            remove(self.path / CORPORA / name)
        for folder in own_folders(self.path / UPLOADS, UPLOAD_ID):
            for name in (UPLOADED_TEXT, *self.text_names(folder)):
                remove(folder / name)

    def _require_no_link(self, name: str) -> None:
        if (self.path / name).is_symlink():
            raise FolderUnusableError(
                f"{self.path / name} is a link, and links are not followed. Put a folder in its place."
            )


def make_folder(path: Path) -> None:
    """Make a folder and what leads to it, durably."""
    made = [folder for folder in (path.absolute(), *path.absolute().parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)
