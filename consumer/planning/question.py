"""What is a plan asked for, and what do the settings say to it?"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from consumer.errors import SettingsError
from consumer.settings import Settings

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class Question(Struct, frozen=True, kw_only=True):
    """`rate` is images a second, `network` bits a second of one replica, `commit` the seconds of one transaction's
    commit, `latency` what 99 % of the jobs of a group that has caught up must be done within."""

    rate: Positive
    cores: Count
    headroom: NotNegative = 0.3
    latency: Positive | None = None
    s3_round_trip: NotNegative = 0.02
    commit: Positive = 0.13
    network: Positive = 10e9
    outage: NotNegative = 600.0
    retention_days: Positive = 7.0
    max_in_flight: Count = 256
    max_in_flight_bytes: Count = 256 * 2**20
    max_pixels: Count = 50_000_000
    delivery_interval: NotNegative = 0.2


def with_settings(question: Question, settings: Settings) -> Question:
    """What the settings rule."""
    return msgspec.structs.replace(
        question,
        max_in_flight=settings.limits.max_in_flight,
        max_in_flight_bytes=int(settings.limits.max_in_flight_bytes),
        max_pixels=settings.images.max_pixels,
        delivery_interval=settings.delivery.interval,
    )


def seconds_of(text: str, *, option: str, least: float, most: float) -> float:
    """Of `20ms`, `0.02`, `10min`. Raises SettingsError that names the option."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)", text.strip())
    if matched is None or matched[2] not in _UNITS:
        raise SettingsError(f"{option}: {text!r} is no duration; 20ms, 0.02 and 10min are")
    seconds = float(matched[1]) * _UNITS[matched[2]]
    if not least <= seconds <= most:
        raise SettingsError(f"{option}: {text} does not lie between {least:g} and {most:g} s")
    return seconds
