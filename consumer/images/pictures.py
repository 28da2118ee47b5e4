"""Where are pictures of inspected images put, so that nothing is overwritten that a person may need?"""

from pathlib import Path

from consumer.errors import CheckFailed, SettingsError
from consumer.messages import ImageReference

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_LONGEST = 200  # bytes of a file's name that are kept; most file systems take 255


class Pictures:
    """Writes pictures to one file, which may be replaced, or into a folder, where each gets a new name.

    A path that ends like a picture's and is no folder is a file. Raises SettingsError if the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_one = path.suffix.lower() in SUFFIXES and not path.is_dir()
        self.suffix = path.suffix if self.is_one else ".jpg"
        self._taken: dict[str, int] = {}  # how often a name that was there already was asked for
        folder = path.parent if self.is_one else path
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"folder {folder} cannot be made: {error.strerror}") from error

    def write(self, image: ImageReference, content: bytes) -> Path:
        """Write the picture of this image and return its path. Raises CheckFailed if it cannot be written."""
        try:
            return self._replace(image, content) if self.is_one else self._add(image, content)
        except OSError as error:
            raise CheckFailed(f"the picture of {image.uri} cannot be written: {error}") from error

    def _replace(self, image: ImageReference, content: bytes) -> Path:
        if not image.bucket and self._path.exists() and self._path.samefile(image.key):
            raise SettingsError(f"{self._path} is the image itself, it is not overwritten")
        self._path.write_bytes(content)
        return self._path

    def _add(self, image: ImageReference, content: bytes) -> Path:
        stem = _stem(image)
        while True:
            number = self._taken.get(stem, 1)
            path = self._path / (f"{stem}.jpg" if number == 1 else f"{stem}-{number}.jpg")
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                self._taken[stem] = number + 1
            else:
                return path


def _stem(image: ImageReference) -> str:
    name = Path(image.key).stem.encode(errors="surrogateescape")[:_LONGEST].decode(errors="replace")
    return name or "image"
