"""How do images leave the store for a dataset, each with the very bytes that were inspected?"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from consumer.audit.export import FORMATS, class_names, file_name
from consumer.audit.report import Shown
from consumer.auditing.inspected import inspected_bytes, open_images
from consumer.errors import CheckFailed, Rejected, SettingsError
from consumer.images.formats import kind_of
from consumer.settings import Settings


def export(results: Iterable[Shown], folder: Path, format_: str, settings: Settings) -> Iterator[str | None]:
    """Write the dataset into an empty or new folder; for each image None when it is in, or why it is left out.

    Raises SettingsError for a folder that has something in it, CheckFailed where it cannot be written or classes
    contradict each other, Unavailable where the store does not answer.
    """
    known = list(results)
    dataset = FORMATS[format_](folder, class_names(known))
    images = folder / "images"
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SettingsError(f"folder {folder} has something in it: name an empty or a new one")
        images.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckFailed(f"folder {folder} cannot be made: {error.strerror}") from error
    store = open_images(settings)
    for one in known:
        try:
            content = inspected_bytes(store, one.image, one.sha256)
        except Rejected as rejection:
            yield f"{one.image.uri}: {rejection.reason}"
            continue
        kind = kind_of(content)
        name = file_name(one, kind.name if kind else "")
        (images / name).write_bytes(content)
        dataset.add(one, name)
        yield None
    dataset.close()
