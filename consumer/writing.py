"""How does a file change in one step?"""

from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """`path` holds all of it afterwards, or what it held before. Raises OSError that names `path`."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # it was never made, or has its place
            unfinished.unlink()
