"""One image that fails is told from an outage, by evidence."""

import threading

import pytest

from consumer.errors import Unavailable
from consumer.images.availability import Availability


class Store:
    """Buckets that answer a probe or say why not, and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.failures: dict[str, str] = {}
        self.probed: list[str] = []

    def probe(self, bucket: str) -> None:
        self.probed.append(bucket)
        if code := self.failures.get(bucket):
            raise Unavailable(code, f"{bucket}: {code}")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def availability(store: Store) -> Availability:
    return Availability(store.probe, clock=lambda: store.now)


def test_another_image_that_came_later_is_evidence(store: Store, availability: Availability) -> None:
    availability.succeeded("parts")
    assert availability.answers_since("parts", 99)
    assert store.probed == []


def test_an_image_of_another_bucket_is_none(store: Store, availability: Availability) -> None:
    store.failures["parts"] = "SlowDown"
    availability.succeeded("other")
    assert not availability.answers_since("parts", 99)


def test_an_image_that_came_before_is_none(store: Store, availability: Availability) -> None:
    availability.succeeded("parts")
    store.failures["parts"] = "SlowDown"
    assert not availability.answers_since("parts", 100)


def test_without_other_images_a_probe_tells(store: Store, availability: Availability) -> None:
    assert availability.answers_since("parts", 99)
    assert store.probed == ["parts"]


def test_a_bucket_is_probed_once_a_second(store: Store, availability: Availability) -> None:
    store.failures["parts"] = "timeout"
    assert [availability.answers_since("parts", 99) for _ in range(5)] == [False] * 5
    assert store.probed == ["parts"]
    store.now += 1
    store.failures.clear()
    assert availability.answers_since("parts", 99)
    assert store.probed == ["parts", "parts"]


def test_threads_that_ask_together_share_one_probe(store: Store) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def probe(bucket: str) -> None:
        begun.set()
        assert may_end.wait(10)
        store.probe(bucket)

    availability = Availability(probe, clock=lambda: store.now)
    first = threading.Thread(target=availability.answers_since, args=("parts", 99))
    first.start()
    assert begun.wait(10)
    store.now += 60
    assert not availability.answers_since("parts", 99)  # returns at once: the first one's probe is still out
    may_end.set()
    first.join()
    assert store.probed == ["parts"]
    assert availability.answers_since("parts", 99)


def test_a_failing_bucket_is_named_until_an_image_of_it_comes(availability: Availability) -> None:
    assert availability.reason() is None
    availability.failed("parts", "SlowDown")
    assert availability.reason() == "parts: SlowDown"
    availability.succeeded("other")
    assert availability.reason() == "parts: SlowDown"
    availability.succeeded("parts")
    assert availability.reason() is None


def test_one_failing_image_among_others_that_come_is_no_outage(store: Store, availability: Availability) -> None:
    availability.succeeded("parts")
    store.now += 0.5
    availability.failed("parts", "InternalError")
    assert availability.reason() is None
    store.now += 0.5
    availability.failed("parts", "InternalError")
    assert availability.reason() == "parts: InternalError"


def test_a_probe_makes_it_green_again_while_no_jobs_flow(store: Store, availability: Availability) -> None:
    availability.failed("parts", "network")
    store.failures["parts"] = "timeout"
    availability.refresh()
    assert availability.reason() == "parts: timeout"
    store.failures.clear()
    store.now += 1
    availability.refresh()
    assert availability.reason() is None


def test_a_dead_store_costs_a_refresh_one_time_out(store: Store, availability: Availability) -> None:
    for bucket in ("a", "b", "c", "d", "e"):
        store.failures[bucket] = "timeout"
        availability.failed(bucket, "timeout")
    availability.refresh()
    assert len(store.probed) == 1
    assert availability.reason() == "a: timeout, b: timeout, c: timeout and 2 more"


def test_every_failing_bucket_gets_its_turn(store: Store, availability: Availability) -> None:
    for bucket in ("a", "b"):
        availability.failed(bucket, "timeout")
    store.failures["a"] = "timeout"
    for _ in range(2):
        availability.refresh()
        store.now += 0.5
    assert availability.reason() == "a: timeout"


def test_a_bucket_that_never_existed_counts_as_answered_while_another_answers(
    store: Store, availability: Availability
) -> None:
    store.failures["typo"] = "NoSuchBucket"
    assert not availability.answers_since("typo", 99)
    assert availability.reason() == "typo: NoSuchBucket"
    store.now += 1
    availability.succeeded("parts")
    assert availability.answers_since("typo", 100.5)
    assert availability.reason() is None


def test_the_other_bucket_is_asked_when_it_has_been_quiet(store: Store, availability: Availability) -> None:
    store.failures["typo"] = "NoSuchBucket"
    availability.succeeded("parts")
    assert availability.answers_since("typo", 100.5) is True
    assert store.probed == ["typo", "parts"]


def test_a_store_that_is_down_says_nothing_about_the_bucket(store: Store, availability: Availability) -> None:
    availability.succeeded("parts")
    store.failures = {"typo": "NoSuchBucket", "parts": "timeout"}
    assert not availability.answers_since("typo", 100.5)


def test_a_bucket_that_has_answered_once_and_is_gone_is_an_outage(store: Store, availability: Availability) -> None:
    availability.succeeded("parts")
    store.now += 10
    store.failures["parts"] = "NoSuchBucket"
    availability.succeeded("other")
    assert not availability.answers_since("parts", 105)
    assert availability.reason() == "parts: NoSuchBucket"


def test_jobs_that_name_ever_new_buckets_do_not_fill_the_memory(availability: Availability) -> None:
    for number in range(3000):
        availability.failed(f"bucket-{number}", "NoSuchBucket")
    assert len(availability._buckets) == 1024
