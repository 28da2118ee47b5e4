"""What does the table look like? Bars of images a second, as an SVG without any library."""

from collections.abc import Sequence
from html import escape

from benchmarks import figures
from benchmarks.run import Results

_WIDTH, _LABEL, _BAR, _GAP = 900, 330, 18, 8
_COLOURS = {"denominators": "#9aa5b1", "pipeline": "#1f77b4", "people": "#d98c3f", "peers": "#7a9e5f"}


def svg(results: Results) -> str | None:
    """One row of bars for each size of images, the fastest first; None where no such case has numbers.

    The null engine, and parts other than the engine, would dwarf what has a model.
    """
    sections: list[tuple[str, list[tuple[str, float, str]]]] = []
    for title, cases in results.groups():
        bars = [
            (case.name, rate, _COLOURS[case.group])
            for case in cases
            if case.is_model and case.group in _COLOURS and (rate := figures.median_rate(results.of(case)))
        ]
        if bars:
            sections.append((title, sorted(bars, key=lambda bar: -bar[1])))
    return _drawn(sections) if sections else None


def _drawn(sections: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> str:
    most = max(rate for _, bars in sections for _, rate, _ in bars)
    parts: list[str] = []
    y = 10
    for title, bars in sections:
        parts.append(_text(10, y + 16, f"{title}: images/s", weight="bold"))
        y += 28
        for name, rate, colour in bars:
            width = (_WIDTH - _LABEL - 80) * rate / most
            parts += [
                _text(_LABEL - 8, y + 14, name, anchor="end"),
                f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
                _text(_LABEL + width + 6, y + 14, f"{rate:.1f}"),
            ]
            y += _BAR + _GAP
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{y}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
