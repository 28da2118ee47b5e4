"""Which audit does a person mean: the settings' bucket, another one, or a folder?"""

from pathlib import Path
from urllib.parse import urlsplit

from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.errors import SettingsError
from consumer.images.access import S3Access
from consumer.images.shelf import S3Shelf
from consumer.settings import Settings


def open_library(settings: Settings, location: str | None = None) -> Library:
    """`location`: s3://bucket/prefix or a folder; None means `audit.bucket` and `audit.prefix`.

    Raises SettingsError for a place that is none, or when none is named.
    """
    if location is None or location.startswith("s3://"):
        bucket, prefix = _address(settings, location)
        return Library(S3Shelf(S3Access(settings.s3), bucket, prefix))
    folder = Path(location)
    if not folder.is_dir():
        raise SettingsError(f"audit {location}: there is no such folder")
    return Library(FolderShelf(folder))


def _address(settings: Settings, location: str | None) -> tuple[str, str]:
    if location is not None:
        url = urlsplit(location)
        if not url.netloc:
            raise SettingsError(f"audit {location}: expected s3://bucket/prefix")
        return url.netloc, url.path.strip("/")
    if settings.audit.bucket is None:
        raise SettingsError("audit.bucket: required, not set")
    return settings.audit.bucket, settings.audit.prefix
