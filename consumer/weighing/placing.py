"""How does a new file of weights come to its place, whole or not at all, and in place of none that is wanted?"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.errors import SettingsError


@contextmanager
def place(target: Path, *, force: bool, source: Path) -> Iterator[Path]:
    """Give a path to write to; what lies there at the end becomes `target`. Nothing is left behind after an error.

    Raises SettingsError for a target that is there already (unless `force`), that is the source, that is no .onnx, or
    whose folder takes no files.
    """
    if target.suffix.lower() != ".onnx":
        raise SettingsError(f"{target} ends in {target.suffix!r}, expected .onnx")
    if target.is_dir():
        raise SettingsError(f"{target} is a folder")
    if target.exists() and source.exists() and target.samefile(source):
        raise SettingsError(f"{target} is the source itself, it is not overwritten")
    if target.exists() and not force:
        raise _is_there(target)
    try:
        workplace = tempfile.TemporaryDirectory(dir=target.parent, prefix=".")
    except OSError as error:
        raise SettingsError(f"folder {target.parent} cannot be written to: {error.strerror}") from error
    with workplace as folder:
        made = Path(folder) / target.name
        yield made
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        if force:
            made.replace(target)
            return
        try:
            target.hardlink_to(made)  # unlike a rename, it takes nobody's place
        except FileExistsError:
            raise _is_there(target) from None


def _is_there(target: Path) -> SettingsError:
    return SettingsError(f"{target} exists, it is overwritten with --force alone")
