"""Does the page do in a browser what a person asks of it, and stay silent towards the world?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer.demo.parts import encode, render_part
from consumer.gallery import Fact, Gallery, LostJob, Picture, Table, Truth, write_gallery
from consumer.messages import Detection
from tests.rigs.browser import NoBrowser, Page, open_browser

pytestmark = pytest.mark.slow

# Words that would run if they were ever taken for markup, or that are special as keys of an object.
HOSTILE = "</script><img src=x onerror='document.title=\"hacked\"'>"
SCRATCH, DENT = "__proto__", HOSTILE

BOX = (40.0, 50.0, 140.0, 150.0)
ELSEWHERE = (300.0, 200.0, 400.0, 300.0)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    profile = tmp_path / "profile"
    profile.mkdir()
    try:
        with open_browser(profile) as page:
            path = tmp_path / "a page's name #1.html"
            write_gallery(path, gallery())
            page.open(path)
            yield page
    except NoBrowser as reason:
        pytest.skip(str(reason))


def gallery() -> Gallery:
    """Three parts: found and false, missed, flawless; then enough flawless ones for a second helping."""
    image = encode(render_part(7, 2), "jpg")
    detections = (Detection(0, SCRATCH, 0.9, BOX), Detection(1, DENT, 0.4, ELSEWHERE))

    def part(title: str, found: tuple[Detection, ...] = (), truth: tuple[Truth, ...] = ()) -> Picture:
        return Picture(image, 640, 480, title, found, truth=truth, details={HOSTILE: HOSTILE})

    return Gallery(
        title=HOSTILE,
        facts=(Fact("Images per second", "31"),),
        pictures=(
            part("both", detections, (Truth(SCRATCH, BOX),)),
            part("missed", (), (Truth(DENT, BOX),)),
            *(part(f"flawless {index}") for index in range(98)),
        ),
        dead_letters=(
            LostJob("image_not_found", "NoSuchKey", "s3://parts/a.jpg", "jobs/0/1"),
            LostJob("schema_invalid", HOSTILE, "", "jobs/0/2"),
            LostJob("schema_invalid", "$.image: missing", "", "jobs/0/3"),
        ),
        tables=(Table("Batches", ("size", "batches"), (("1", "7"),)),),
        footer="seed 7",
    )


def count(page: Page, selector: str) -> Any:
    return page.evaluate(f"document.querySelectorAll({selector!r}).length")


def text(page: Page, selector: str) -> Any:
    return page.evaluate(f"document.querySelector({selector!r}).innerText")


def titles(page: Page) -> Any:
    return page.evaluate("[...document.querySelectorAll('.card .title')].map(title => title.textContent)")


def test_classes_confidence_and_filters_choose_what_is_shown(page: Page) -> None:
    assert count(page, "#grid .detection") == 2
    assert text(page, "#summary") == "2 detections · 1 of 2 drawn defects found · 1 false"

    page.click("#classes [data-kind='0']")  # hides what was found
    assert count(page, "#grid .detection") == 1
    assert text(page, "#summary") == "1 detection · 0 of 1 drawn defects found · 1 false"
    page.click("#classes [data-kind='0']")

    page.click("#confidence")  # the middle: 0.5
    assert text(page, "#confidence-value") == "≥ 0.50"
    assert count(page, "#grid .detection") == 1
    page.press("End")
    assert text(page, "#confidence-value") == "≥ 1.00"
    assert count(page, "#grid .detection") == 0
    page.press("Home")
    assert count(page, "#grid .detection") == 2

    page.click("#filter-with")
    assert titles(page) == ["both"]
    page.press("ArrowRight")  # the next choice, by keyboard
    assert "both" not in titles(page)
    page.click("#filter-missed")
    assert titles(page) == ["missed"]
    page.click("#filter-false")
    assert titles(page) == ["both"]
    page.click("#classes [data-kind='1']")
    assert titles(page) == []
    assert text(page, "#no-pictures") == "No picture matches these choices."

    page.click("#filter-all")
    page.click("#drawn")
    assert count(page, "#grid .truth") == 0
    assert len(titles(page)) == 60
    page.click("#more-pictures")
    assert len(titles(page)) == 100
    assert page.complaints == []


def test_a_click_opens_the_large_view_and_escape_leads_back(page: Page) -> None:
    page.click("[data-picture='0']")

    assert text(page, "#view-title") == "both"
    assert text(page, "#view-place") == "1 / 100"
    assert count(page, "#stage .detection") == 2
    assert page.evaluate("[...document.querySelectorAll('#findings .badge')].map(badge => badge.textContent)") == [
        "IoU 1.00",
        "false",
    ]
    where = page.evaluate(
        """(() => {
            const place = (selector) => document.querySelector(selector).getBoundingClientRect();
            const image = place("#stage img"), box = place("#stage .found");
            const x = (value) => (value - image.x) / image.width * 640;
            const y = (value) => (value - image.y) / image.height * 480;
            return [x(box.x), y(box.y), x(box.right), y(box.bottom)];
        })()"""
    )
    assert where == pytest.approx(BOX, abs=3)  # the box lies where the detection is, its stroke around it

    page.press("ArrowRight")
    assert text(page, "#view-title") == "missed"
    assert text(page, "#findings .badge") == "missed"
    page.press("Escape")
    assert page.evaluate("document.querySelector('#view').open") is False
    assert page.evaluate("document.activeElement.dataset.picture") == "1"
    page.press("Enter")
    assert text(page, "#view-title") == "missed"
    assert page.complaints == []


def test_dead_letters_are_grouped_and_chosen_by_reason(page: Page) -> None:
    groups = "[...document.querySelectorAll('#letters .reason')].map(group => group.innerText)"
    assert page.evaluate(groups) == ["schema_invalid2", "image_not_found1"]

    page.click("#reason-2")
    assert page.evaluate(groups) == ["image_not_found1"]
    assert count(page, "#letters tbody tr:not(.reason)") == 1


def test_hostile_words_are_shown_and_do_nothing(page: Page) -> None:
    page.click("[data-picture='0']")

    assert page.evaluate("document.title") == HOSTILE
    assert text(page, "#title") == HOSTILE
    assert text(page, "#details dt:last-of-type") == HOSTILE
    assert page.evaluate("document.querySelectorAll('[onerror], img[src=x]').length") == 0
    assert page.evaluate("document.scripts.length") == 2
    shown = "[...document.querySelectorAll('#classes .chip .name')].map(name => name.textContent)"
    assert page.evaluate(shown) == [SCRATCH, DENT]
    assert page.complaints == []


def test_nothing_is_fetched_and_nothing_could_be(page: Page) -> None:
    assert [address for address in page.requests if not address.startswith(("data:image/", "file:"))] == []

    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => null)")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))")

    assert page.evaluate("window.ran === undefined")
    refused = " ".join(page.complaints)
    assert "connect-src 'none'" in refused
    assert "script-src 'sha256-" in refused
