"""How do outcomes of an audit and images of the store become one page?"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.audit.report import Pick, overview, shown
from consumer.auditing.inspected import open_images
from consumer.auditing.thumbnails import pictures
from consumer.gallery import Gallery, write_gallery
from consumer.settings import Settings


@dataclass(frozen=True, slots=True)
class Paper:
    """What the page is called and which pictures it has."""

    title: str
    source: str
    pick: Pick
    images: int


def write_report(file: Path, rows: Any, paper: Paper, settings: Settings, left_out: Counter[str]) -> str:
    """Write the page of these rows (a LazyFrame of outcomes); returns what is on it in a few words. Raises OSError."""
    seen = overview(rows)
    results = shown(rows, paper.pick, paper.images) if paper.images else []
    drawn = tuple(pictures(results, open_images(settings), settings.images, left_out)) if results else ()
    gallery = Gallery(
        title=paper.title,
        subtitle=f"{seen.span} · {paper.source}",
        facts=seen.facts,
        charts=seen.charts,
        pictures=drawn,
        dead_letters=seen.letters,
        tables=seen.tables,
        class_names=seen.class_names,
        footer="Made by consumer audit report. Pictures have the very bytes that were inspected.",
    )
    write_gallery(file, gallery)
    return f"{seen.span}, {len(drawn)} pictures, {file.stat().st_size / 1e6:.1f} MB"
