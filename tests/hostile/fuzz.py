"""Does anything that is sent end in something else than jobs, pixels or a refusal?

The tests try it for seconds. By hand, from the root: `make fuzz MINUTES=60`, which starts a process for each round, so
that a decoder that crashes is seen too: what it was given is then in `.hypothesis/fuzz/last`.
"""

import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from consumer.errors import Reason, Rejected
from consumer.images.decode import Pixels, decode
from consumer.images.names import client_for
from consumer.intake import contents_of
from consumer.messages import Headers, Record, encode_dead_letter
from consumer.settings import ImageSettings
from tests.hostile.images import CASES as IMAGES
from tests.hostile.images import mutated
from tests.hostile.messages import CASES as MESSAGES
from tests.unit.samples import a_letter

LIMITS = ImageSettings(allowed_buckets=("parts",), max_pixels=1_000_000, max_side=4000)
REASONS = {None, "image_undecodable", "image_format_unsupported", "image_too_many_pixels"}
MAX_SECONDS = 5.0  # of this process's own time, for an example of a few kilobytes
MAX_GROWTH = 200 * 1024  # kilobytes
MAX_LETTER = 64 * 1024  # bytes
FOLDER = Path(".hypothesis/fuzz")
ROUND = 2000  # examples of each kind

_SMALL = 20_000


def try_image(content: bytes) -> None:
    """Fails for anything but pixels within the limits, or a refusal."""
    before, began = _memory(), time.process_time()
    reason: Reason | None = None
    pixels: Pixels = np.zeros((1, 1, 3), np.uint8)
    try:
        pixels = decode(content, LIMITS).pixels
    except Rejected as rejection:
        reason = rejection.reason
    height, width, depth = pixels.shape
    assert reason in REASONS
    assert (pixels.dtype.name, depth) == ("uint8", 3)
    assert height * width <= LIMITS.max_pixels
    assert max(height, width) <= LIMITS.max_side
    assert time.process_time() - began < MAX_SECONDS
    assert _memory() - before < MAX_GROWTH


def try_message(record: Record) -> None:
    """Fails for anything but jobs that can be asked for, or a refusal that can be told."""
    began = time.process_time()
    refusals: list[Rejected] = []
    try:
        for job in contents_of(record).jobs:
            assert job.job_id.encode()
            assert job.image.bucket
            assert job.image.key.encode()
            client_for(job.image.bucket, job.image.key)
    except Rejected as rejection:
        refusals.append(rejection)
    for refusal in refusals:
        assert refusal.reason == "schema_invalid"
        assert encode_dead_letter(a_letter(record, message=str(refusal))).size < MAX_LETTER
    assert time.process_time() - began < MAX_SECONDS


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# --- images ---

_SEEDS = sorted({case.content for case in IMAGES if len(case.content) < _SMALL})
_NUMBERS = (("H", 0), ("H", 1), ("H", 2**15 - 1), ("H", 2**16 - 1), ("I", 2**31 - 1), ("I", 2**31), ("I", 2**32 - 1))
_WORDS = [struct.pack(order + kind, number) for order in "<>" for kind, number in (*_NUMBERS, ("Q", 2**63))]


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    """A good or bad file of the corpus with some of its bytes changed, its checksums made good again or not."""
    content = bytearray(draw(st.sampled_from(_SEEDS)))
    if draw(st.booleans()):
        content[:] = mutated(bytes(content), random.Random(draw(st.integers(0, 2**64))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, 120) | st.integers(0, _SMALL)) % (len(content) + 1)
        put = draw(st.sampled_from(_WORDS) | st.binary(max_size=4))
        content[at : at + draw(st.sampled_from([len(put), 0, 12]))] = put
    return summed(bytes(content)) if draw(st.booleans()) else bytes(content)


def summed(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them, else no change would pass the decoder's door."""
    if not content.startswith(b"\x89PNG"):
        return content
    changed, at = bytearray(content), 8
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = struct.pack(">I", zlib.crc32(changed[at + 4 : end]))
        at = end + 4
    return bytes(changed)


# --- messages ---

_VALUES = [case.value for case in MESSAGES if case.value is not None and len(case.value) < _SMALL]
_DOCUMENTS = [
    json.loads(case.value or b"") for case in MESSAGES if case.outcomes == ("result",) and len(case.value or b"") < 500
]
_TEXT = st.text(max_size=12) | st.sampled_from(
    ["..", "/", "%2e", "\u202e", "\x00", "s3://", "inspection.job/1", "aws:s3"]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_ANY = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6
)
_PIECES = [
    b'"',
    b"\\",
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b"e",
    b"\xff",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"[" * 200,
    b'\\"' * 50,
]


@st.composite
def records(draw: st.DrawFn) -> Record:
    value = draw(_structured() | _spoiled() | st.binary(max_size=100) | st.none())
    key = draw(st.none() | st.binary(max_size=20) | st.just(b"/buckets/parts/a.jpg"))
    names = st.sampled_from(["inspection-job-id", "inspection-job-index", "traceparent", ""]) | _TEXT
    headers: Headers = tuple(draw(st.lists(st.tuples(names, st.none() | st.binary(max_size=10)), max_size=3)))
    return Record("jobs", 0, 7, draw(st.integers(-1, 2**62)), key, value, headers)


@st.composite
def _structured(draw: st.DrawFn) -> bytes:
    """A good job or event, parts of which were left out, replaced or put elsewhere."""
    document = draw(st.sampled_from(_DOCUMENTS))
    for _ in range(draw(st.integers(1, 3))):
        document = _changed(document, draw)
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


def _changed(document: Any, draw: st.DrawFn) -> Any:
    places: list[Any] = (
        list(document)
        if isinstance(document, dict)
        else list(range(len(document)))
        if isinstance(document, list)
        else []
    )
    if not places or draw(st.integers(0, 5)) == 0:
        return draw(_ANY)
    at = draw(st.sampled_from(places))
    copy = document.copy()
    match draw(st.integers(0, 6)):
        case 0:
            del copy[at]
        case 1 if isinstance(copy, dict):
            copy[draw(_TEXT)] = copy.pop(at)
        case _:
            copy[at] = _changed(copy[at], draw)
    return copy


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    value = bytearray(draw(st.sampled_from(_VALUES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(value)))
        value[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(_PIECES) | st.binary(max_size=2))
    return bytes(value)


# --- by hand ---


def main() -> int:
    """Rounds in processes of their own until MINUTES are over; 1 when one of them failed."""
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "1"))
    first = int(os.environ.get("SEED", str(time.time_ns() % 10**9)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    rounds = failures = 0
    while time.monotonic() < end:
        number = first + rounds
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-m", "tests.hostile.fuzz", str(number)],
            capture_output=True,
            text=True,
            check=False,
        )
        rounds += 1
        if done.returncode != 0:
            failures += 1
            kept = FOLDER / f"{number}.txt"
            kept.write_text(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr[-20_000:]}")
            if done.returncode < 0:
                (FOLDER / "last").rename(FOLDER / f"{number}.bin")
            print(f"round {number} failed with {done.returncode}: {kept}; again: SEED={number}", flush=True)  # noqa: T201
        print(f"{rounds} rounds of {ROUND} images and {ROUND} messages, {failures} failed", flush=True)  # noqa: T201
    return 1 if failures else 0


def one_round(number: int) -> None:
    profile = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )

    def run(strategy: st.SearchStrategy[Any], attempt: Callable[[Any], None]) -> None:
        seed(number)(profile(given(strategy)(attempt)))()

    def image(content: bytes) -> None:
        (FOLDER / "last").write_bytes(content)
        try_image(content)

    run(image_files(), image)
    run(records(), try_message)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one_round(int(sys.argv[1]))
    else:
        sys.exit(main())
