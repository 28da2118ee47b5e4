"""The bytes of one image on this machine, or the reason why there are none; and which files a name stands for."""

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from consumer.errors import Rejected
from consumer.images.store import FetchedImage, megabytes
from consumer.messages import ImageReference
from consumer.settings import ImageSettings

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"})
"""What is taken from a folder; a file that is named itself is taken whatever its name."""


class LocalFiles:
    """Reads files as `ImageStore` reads objects, within the same limits; an image's `key` is its path."""

    def __init__(self, images: ImageSettings) -> None:
        self._images = images

    def fetch(self, image: ImageReference, *, reserve: Callable[[int], None], timeout: float) -> FetchedImage:  # noqa: ARG002  # files answer
        """Read one file, `reserve` its size before its content is read.

        Raises `Rejected`: image_not_found (no such file, a folder, a device), image_forbidden, image_too_large,
        image_changed (its size did while it was read), image_unavailable (the disk's own errors).
        """
        with _opened(image.key) as file:
            size = os.fstat(file.fileno()).st_size
            limit = self._images.max_bytes
            if size > limit:
                fact = f"image {image.key} is {megabytes(size)}, limit {megabytes(limit)} (images.max_bytes)"
                raise Rejected("image_too_large", fact, stage="fetch")
            reserve(size)
            content = file.read(size + 1)
        if len(content) != size:
            raise Rejected("image_changed", f"image {image.key} changed while it was read", stage="fetch")
        return FetchedImage(content, hashlib.sha256(content).hexdigest(), etag=None, version_id=None)


def files_of(name: str, *, besides: Path | None = None) -> Iterator[str]:
    """The paths of images that a name stands for: a file, a folder with all below it, or a pattern, in a stable order.

    A folder is read as it is come to, so the one that is written to at the same time must be named: `besides`.
    What stands for nothing is its own path, for `LocalFiles` to say what is wrong with it.
    """
    if os.path.isdir(name):  # noqa: PTH112  # a name may be anything, Path raises for some
        paths = _files_below(name, besides)
    elif glob.has_magic(name) and not os.path.lexists(name):
        paths = iter(sorted(glob.iglob(name, recursive=True)))  # noqa: PTH207  # with the name as it was given
    else:
        paths = iter([name])
    is_empty = True
    for path in paths:
        is_empty = False
        yield path
    if is_empty:
        yield name


def _files_below(folder: str, besides: Path | None) -> Iterator[str]:
    skipped = None if besides is None else besides.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if skipped is None or Path(parent, name).resolve() != skipped)
        yield from (str(Path(parent, name)) for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _missing(f"{path} is no regular file")
            yield file
    except IsADirectoryError as error:
        raise _missing(f"folder {path} holds no file that ends in {', '.join(sorted(SUFFIXES))}") from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise _missing(f"image {path} does not exist") from error
    except PermissionError as error:
        raise Rejected("image_forbidden", f"image {path} may not be read", stage="fetch") from error
    except OSError as error:
        raise Rejected("image_unavailable", f"image {path} cannot be read: {error.strerror}", stage="fetch") from error


def _open_at_once(path: str, flags: int) -> int:
    """A pipe without a writer would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _missing(fact: str) -> Rejected:
    return Rejected("image_not_found", fact, stage="fetch")
