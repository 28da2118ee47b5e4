"""How does a server get a disk that can be filled up and freed again?"""

import contextlib
import errno
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FILLER = "filler"
_BLOCK = bytes(1 << 16)


class DiskUnavailable(RuntimeError):
    """No disk of its own can be mounted here; the message says why."""


@dataclass(frozen=True)
class SmallDisk:
    """A folder with a limit; who uses it makes folders of his own in it."""

    folder: Path

    def fill(self) -> None:
        """Take all the room that is left, and again what was freed since the last time."""
        with (self.folder / _FILLER).open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(_BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        (self.folder / _FILLER).unlink(missing_ok=True)

    @property
    def is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free == 0


@contextmanager
def small_disk(megabytes: int = 512) -> Iterator[SmallDisk]:
    """Mount one in memory, which takes only the room that is used. Raises DiskUnavailable: it takes root, on Linux."""
    folder = Path(tempfile.mkdtemp(prefix="inspection-disk-"))
    try:
        _mount(folder, megabytes)
        try:
            yield SmallDisk(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True, timeout=30)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _mount(folder: Path, megabytes: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        raise DiskUnavailable(f"no small disk: {error}") from error
    if done.returncode:
        raise DiskUnavailable(f"no small disk: {done.stderr.strip()}")
