"""Is the page of a run whole in itself, and does everything that it is told stay text?"""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.gallery import Chart, Fact, Gallery, LostJob, Picture, Table, Truth, render
from consumer.messages import Detection

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
WEBP = b"RIFF\x0a\x00\x00\x00WEBPVP8 "
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "</title><img src=x onerror=alert(1)>",
    "\" onload='alert(1)' x=\"",
    "line\u2028break\u2029\u202eturned",
    "half a pair \ud800",
    "__CONTENT__ __POLICY__",
    "\\u003c/script>",
    "\x00\x1b[31m",
    "__proto__",
)
# Elements that have no end.
VOID = {"meta", "link", "input", "img", "br"}


class Markup(HTMLParser):
    """The page as a browser's parser splits it; what is not closed in order is an error."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.comments: list[str] = []
        self._open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"script", "style", "title"}:
            attributes = self.tags[-1][1]
            name = attributes.get("id") or self._open[-1]
            self.texts[name] = self.texts.get(name, "") + data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def content(self) -> Any:
        return json.loads(self.texts["content"])

    @property
    def policy(self) -> dict[str, str]:
        [policy] = [a["content"] for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy"]
        return dict(directive.strip().split(" ", 1) for directive in str(policy).split(";"))


def picture(**changes: Any) -> Picture:
    values: dict[str, Any] = {"image": JPEG, "width": 640, "height": 480, "title": "a.jpg", "detections": ()}
    return Picture(**{**values, **changes})


def detection(name: str, class_id: int = 0) -> Detection:
    return Detection(class_id, name, 0.87, (1.5, 2.0, 30.25, 40.0))


def saying(words: str) -> Gallery:
    """A gallery that says the same everywhere."""
    told = picture(
        title=words,
        subtitle=words,
        detections=(detection(words),),
        truth=(Truth(words, (1, 2, 3, 4)),),
        details={words: words},
    )
    return Gallery(
        title=words,
        subtitle=words,
        facts=(Fact(words, words, words),),
        pictures=(told,),
        dead_letters=(LostJob(words, words, words, words),),
        tables=(Table(words, (words,), ((words,),)),),
        charts=(Chart(words, (words,), ((words, (1,)),)), Chart(words, (words,), ((words, (1,)),), is_list=True)),
        class_names=(words,),
        footer=words,
    )


def test_what_is_put_in_comes_out_of_the_page() -> None:
    page = Gallery(
        title="Run 7",
        subtitle="two parts",
        facts=(Fact("Images per second", "31.4", "on 2 cores"),),
        pictures=(
            picture(detections=(detection("dent", 1), detection("scratch", 0)), details={"Job": "4711"}),
            picture(image=PNG, title="b.png", subtitle="s3://parts/b.png", truth=(Truth("stain", (1, 2, 3, 4)),)),
        ),
        dead_letters=(LostJob("image_not_found", "NoSuchKey", "s3://parts/c.jpg", "inspection.jobs/3/17"),),
        tables=(Table("Defects", ("class", "drawn"), (("dent", "12"), ("scratch", "9"))),),
        charts=(Chart("Over time", ("Monday", "Tuesday"), (("dent", (3, 4)), ("hole", (0, 1)))),),
        class_names=("dent", "hole"),
        footer="seed 7",
    )

    assert Markup(render(page)).content == {
        "title": "Run 7",
        "subtitle": "two parts",
        "facts": [{"label": "Images per second", "value": "31.4", "note": "on 2 cores"}],
        "classes": ["scratch", "dent", "stain", "hole"],
        "pictures": [
            {
                "image": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode(),
                "width": 640,
                "height": 480,
                "title": "a.jpg",
                "subtitle": "",
                "details": [["Job", "4711"]],
                "detections": [[1, 0.87, 1.5, 2.0, 30.25, 40.0], [0, 0.87, 1.5, 2.0, 30.25, 40.0]],
                "truth": None,
            },
            {
                "image": "data:image/png;base64," + base64.b64encode(PNG).decode(),
                "width": 640,
                "height": 480,
                "title": "b.png",
                "subtitle": "s3://parts/b.png",
                "details": [],
                "detections": [],
                "truth": [[2, 1, 2, 3, 4]],
            },
        ],
        "dead_letters": [
            {
                "reason": "image_not_found",
                "message": "NoSuchKey",
                "image": "s3://parts/c.jpg",
                "coordinates": "inspection.jobs/3/17",
            }
        ],
        "tables": [{"title": "Defects", "header": ["class", "drawn"], "rows": [["dent", "12"], ["scratch", "9"]]}],
        "charts": [
            {
                "title": "Over time",
                "labels": ["Monday", "Tuesday"],
                "series": [{"name": "dent", "values": [3, 4]}, {"name": "hole", "values": [0, 1]}],
                "is_list": False,
            }
        ],
        "footer": "seed 7",
    }


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_make_no_markup(words: str) -> None:
    assert_only_text(words)


@given(st.text(st.characters() | st.sampled_from("<>&\"'/\\-!\u2028\ud800")))
def test_no_words_make_markup(words: str) -> None:
    assert_only_text(words)


def assert_only_text(words: str) -> None:
    page, harmless = Markup(render(saying(words))), Markup(render(saying("harmless")))

    assert page.tags == harmless.tags
    assert page.comments == []
    assert page.texts["script"] == harmless.texts["script"]
    content = page.content
    assert (content["title"], content["classes"], content["footer"]) == (words, [words], words)
    assert content["pictures"][0]["details"] == [[words, words]]
    assert set(content["dead_letters"][0].values()) == {words}


def test_embedded_content_is_ascii_without_an_opening_bracket() -> None:
    for words in HOSTILE:
        content = Markup(render(saying(words))).texts["content"]
        assert content.isascii()
        assert "<" not in content


def test_a_title_is_escaped_in_the_head_too() -> None:
    page = Markup(render(Gallery(title="</title><b>bold</b> & __POLICY__")))
    assert page.texts["title"] == "</title><b>bold</b> & __POLICY__"


def test_the_page_loads_nothing() -> None:
    page = Markup(render(saying("words")))
    addresses = {str(a[name]) for _, a in page.tags for name in ("src", "href", "srcset", "action") if name in a}
    assert addresses == {"data:,"}
    own = page.texts["script"] + page.texts["style"]
    assert not re.search(r"://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", own)


def test_the_script_makes_no_markup_from_text() -> None:
    own = Markup(render(saying("words"))).texts["script"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", own)


def test_the_policy_lets_only_the_templates_own_script_and_style_run() -> None:
    page = Markup(render(saying("words")))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert page.policy == {
        "default-src": "'none'",
        "script-src": digest(page.texts["script"]),
        "style-src": digest(page.texts["style"]),
        "img-src": "data:",
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not [attributes for _, attributes in page.tags if "style" in attributes or "onclick" in attributes]


def test_ids_are_unique_and_everything_that_names_one_finds_it() -> None:
    page = Markup(render(Gallery(title="empty")))
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    named = {str(a[name]) for _, a in page.tags for name in ("for", "aria-labelledby") if name in a}
    wanted = set(re.findall(r'byId\("([\w-]+)"\)', page.texts["script"]))
    assert len(ids) == len(set(ids))
    assert named | wanted <= set(ids)


def test_an_unknown_truth_is_told_from_a_part_without_defects() -> None:
    page = Gallery(title="t", pictures=(picture(), picture(truth=())))
    assert [told["truth"] for told in Markup(render(page)).content["pictures"]] == [None, []]


@pytest.mark.parametrize(("image", "kind"), [(JPEG, "jpeg"), (PNG, "png"), (WEBP, "webp")])
def test_the_kind_of_an_image_is_read_from_its_bytes(image: bytes, kind: str) -> None:
    [told] = Markup(render(Gallery(title="t", pictures=(picture(image=image),)))).content["pictures"]
    assert told["image"].startswith(f"data:image/{kind};base64,")


@pytest.mark.parametrize("image", [b"", b"<svg onload=alert(1)>", b"GIF89a", b"RIFF....WAVE"])
def test_what_is_no_image_is_refused(image: bytes) -> None:
    with pytest.raises(ValueError, match="is no JPEG, PNG or WebP"):
        render(Gallery(title="t", pictures=(picture(image=image),)))


def test_two_hundred_pictures_stay_below_six_megabytes() -> None:
    some = picture(image=JPEG + bytes(20_000), detections=(detection("scratch"),) * 3, details={"Job": "x" * 40})
    assert len(render(Gallery(title="t", pictures=(some,) * 200))) < 6_000_000
