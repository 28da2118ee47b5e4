"""How does a run become one HTML page that anyone can open, with its pictures, boxes and dead letters?

The page is `gallery.html` with its content put in as JSON: it needs no server, no network and no other file.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.messages import Detection
from consumer.writing import write_whole

TEMPLATE = Path(__file__).with_suffix(".html")

# By the first bytes, since a name may lie.
_IMAGE_TYPES = ((rb"\xff\xd8\xff", "jpeg"), (rb"\x89PNG\r\n\x1a\n", "png"), (rb"RIFF.{4}WEBP", "webp"))


@dataclass(frozen=True, slots=True)
class Fact:
    """One number worth a tile at the top, as text."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A small table below the pictures; columns of numbers are aligned by themselves."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, stacked where there are several series (name, and a value for each label), coloured as the classes of
    these names; with `is_list` a line for each label of the one series, its length the value."""

    title: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[int, ...]], ...]
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """A defect that is known to be there: `box` is x1, y1, x2, y2 in pixels of the picture's original."""

    class_name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """One inspected image. `image` is a JPEG, PNG or WebP file of any size; `width` and `height` are the original's,
    in whose pixels all boxes are. `truth` is None where nobody knows it."""

    image: bytes
    width: int
    height: int
    title: str
    detections: tuple[Detection, ...]
    truth: tuple[Truth, ...] | None = None
    subtitle: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LostJob:
    """A dead letter in a line: `image` may be empty (a job that could not be read names none), `coordinates` say which
    job it was."""

    reason: str
    message: str
    image: str
    coordinates: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """All that the page shows."""

    title: str
    subtitle: str = ""
    facts: tuple[Fact, ...] = ()
    pictures: tuple[Picture, ...] = ()
    dead_letters: tuple[LostJob, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    class_names: tuple[str, ...] = ()
    """Of the charts, where no picture may show them."""
    footer: str = ""


def write_gallery(path: Path, gallery: Gallery) -> None:
    """Write the page in one step: `path` holds all of it, or what it held before. Raises OSError."""
    write_whole(path, render(gallery))


def render(gallery: Gallery) -> bytes:
    """The page as UTF-8. Raises ValueError for an image that is no JPEG, PNG or WebP.

    Whatever the gallery says stays text: JSON cannot end its element (`<` is escaped in it), the page's script makes
    no markup from it, and the policy lets only the template's own script and style run, by their digests.
    """
    template = TEMPLATE.read_text(encoding="utf-8")
    parts = {"TITLE": html.escape(gallery.title), "POLICY": _policy(template), "CONTENT": _embedded(_content(gallery))}
    # In one pass: a title that reads __CONTENT__ is a title.
    page = re.sub("__(TITLE|POLICY|CONTENT)__", lambda match: parts[match[1]], template)
    return page.encode(errors="xmlcharrefreplace")  # half a surrogate pair in the title


def _policy(template: str) -> str:
    """Nothing is loaded but what is in the file, and nothing is sent."""

    def digest(element: str) -> str:
        found = re.search(f"<{element}>(.*?)</{element}>", template, re.DOTALL)
        assert found is not None, f"{TEMPLATE} has no <{element}>"  # noqa: S101
        return base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest('script')}'; style-src 'sha256-{digest('style')}'; "
        "img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _embedded(content: Any) -> str:
    """JSON for a script element: ASCII alone, so U+2028 too is an escape, and no `<` that could end the element."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")


def _content(gallery: Gallery) -> dict[str, Any]:
    class_names = _class_names(gallery)
    return {
        "title": gallery.title,
        "subtitle": gallery.subtitle,
        "facts": [{"label": fact.label, "value": fact.value, "note": fact.note} for fact in gallery.facts],
        "classes": class_names,
        "pictures": [_picture(picture, class_names) for picture in gallery.pictures],
        "dead_letters": [
            {"reason": job.reason, "message": job.message, "image": job.image, "coordinates": job.coordinates}
            for job in gallery.dead_letters
        ],
        "tables": [{"title": table.title, "header": table.header, "rows": table.rows} for table in gallery.tables],
        "charts": [
            {
                "title": chart.title,
                "labels": chart.labels,
                "series": [{"name": name, "values": values} for name, values in chart.series],
                "is_list": chart.is_list,
            }
            for chart in gallery.charts
        ],
        "footer": gallery.footer,
    }


def _class_names(gallery: Gallery) -> list[str]:
    """Names in the order of the model's ids, then those that only the truth knows, by name."""
    detected = {(found.class_id, found.class_name) for picture in gallery.pictures for found in picture.detections}
    known = {drawn.class_name for picture in gallery.pictures for drawn in picture.truth or ()}
    return list(dict.fromkeys([name for _, name in sorted(detected)] + sorted(known) + list(gallery.class_names)))


def _picture(picture: Picture, class_names: list[str]) -> dict[str, Any]:
    return {
        "image": _data_uri(picture.image),
        "width": picture.width,
        "height": picture.height,
        "title": picture.title,
        "subtitle": picture.subtitle,
        "details": list(picture.details.items()),
        "detections": [
            [class_names.index(found.class_name), found.confidence, *found.box] for found in picture.detections
        ],
        "truth": None
        if picture.truth is None
        else [[class_names.index(drawn.class_name), *drawn.box] for drawn in picture.truth],
    }


def _data_uri(image: bytes) -> str:
    for start, image_type in _IMAGE_TYPES:
        if re.match(start, image, re.DOTALL):
            return f"data:image/{image_type};base64,{base64.b64encode(image).decode()}"
    raise ValueError(f"an image that starts with {image[:12]!r} is no JPEG, PNG or WebP")
