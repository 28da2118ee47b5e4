"""Does a plan say what its formulas say?"""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SettingsError
from consumer.planning.capacity import LIMITS, advice_for, capacity_of
from consumer.planning.measurements import EngineWork, Images, Measurements, Work, read_measurements, save_measurements
from consumer.planning.partitions import busiest, partitions_for
from consumer.planning.plan import MOST_REPLICAS, Plan, plan
from consumer.planning.question import Question, seconds_of

WORK = Work(
    fetch=0.001, decode=0.005, letterbox=0.0005, select=0.0001, handover=0.0004, standing=0.0, fetch_source="measured"
)


def measurements(*, device: str = "cuda:0", **engine: Any) -> Measurements:
    """7 ms of CPU and 0.5 ms of the engine's own on the cores; 1,000 images/s on the device; 250 kB an image."""
    told = {"seconds": 0.001, "cpu_seconds": 0.0005, "batch_seconds": 0.032, "places": 2, "max_batch": 16} | engine
    return Measurements(
        schema="inspection.measurements/1",
        measured_at="2026-01-01T00:00:00+00:00",
        version="0.1.0",
        machine="a machine",
        cores=16,
        images=Images(size="1920x1080", count=3, bytes=248_800, pixels=1920 * 1080),
        work=WORK,
        engine=EngineWork(name="parts", sha256="a" * 64, engine="torch", precision="f16", device=device, **told),
        job_bytes=200,
        result_bytes=1050,
        resident_bytes=100,
        slot_bytes=10,
    )


def question(**changes: Any) -> Question:
    plain = {"rate": 1000.0, "cores": 15, "s3_round_trip": 0.02, "commit": 0.1, "headroom": 0.0, "network": 4e9}
    return Question(**(plain | {"max_in_flight": 2048} | changes))


def test_each_limit_is_its_formula() -> None:
    asked, measured = question(), measurements()
    bounds = capacity_of(asked, measured).bounds
    assert bounds == pytest.approx(
        {
            "engine": 1000,
            "cores": 15 / 0.0075,
            "jobs in hand": 2048 / (0.02 + 0.007 + 0.032 + 0.2 / 2 + 0.1 + 2048 / (2 * 1000)),
            "delivery": 500 / 0.1,
            "network": 4e9 / 2e6,
        }
    )


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "engine"),
        ({"cores": 7}, "cores"),
        ({"max_in_flight": 64}, "jobs in hand"),
        ({"commit": 2.0, "max_in_flight": 10_000}, "delivery"),
        ({"network": 1e9}, "network"),
    ],
)
def test_the_least_of_them_is_what_a_replica_does(changes: dict[str, Any], limit: str) -> None:
    capacity = capacity_of(question(**changes), measurements())
    assert capacity.limit == limit
    assert capacity.rate == min(capacity.bounds.values())
    assert advice_for(capacity.limit, capacity, measurements())


def test_a_part_of_a_core_stands_for_the_replica_itself() -> None:
    measured = measurements()
    standing = msgspec.structs.replace(measured, work=msgspec.structs.replace(WORK, standing=0.5))
    assert capacity_of(question(), standing).bounds["cores"] == pytest.approx(14.5 / 0.0075)


def test_an_engine_on_the_cores_has_no_time_of_its_own() -> None:
    capacity = capacity_of(question(cores=2), measurements(device="cpu", cpu_seconds=0.013, seconds=0.5))
    assert "engine" not in capacity.bounds
    assert capacity.bounds["cores"] == pytest.approx(2 / 0.020)


def test_replicas_are_the_rate_and_its_headroom_by_what_one_does() -> None:
    assert plan(question(rate=5000, headroom=0.3), measurements()).load.replicas == 7  # 6.5
    assert plan(question(rate=2000, headroom=0.3), measurements()).load.replicas == 3  # 2.6
    assert plan(question(rate=10), measurements()).load.replicas == 1


def test_a_rate_that_replicas_just_do_gets_one_more_since_its_queue_would_never_end() -> None:
    assert plan(question(rate=3000), measurements()).load.replicas == 4


def test_what_the_surroundings_must_bear() -> None:
    found = plan(question(rate=6000, headroom=0.5), measurements())
    load = found.load
    assert load.replicas == 9
    assert load.bits_in == pytest.approx(6000 * 8 * (248_800 + 1000 + 200))
    assert load.bits_out == pytest.approx(6000 * 8 * 1050)
    assert (load.gets, load.prefixes) == (6000, 2)
    assert load.records == 12_000
    assert load.record_bytes == pytest.approx(6000 * 1250)
    assert load.transactions == pytest.approx(9 * 5)  # one each 0.2 s
    assert load.markers == pytest.approx(45 * (load.partitions / 9 + 1))
    assert found.storage_bytes_per_day == pytest.approx(86_400 * 6000 * 1250 * 3)
    assert found.memory_bytes == 100 + 256 * 2**20 + 15 * 150_000_000 + 10


def test_an_outage_is_caught_up_by_what_is_spare() -> None:
    found = plan(question(rate=4000, headroom=0.25, outage=600), measurements())
    assert found.load.replicas == 5
    assert found.catch_up == pytest.approx(600 * 4000 / 1000)


def test_a_latency_costs_replicas() -> None:
    floor = 0.02 + 0.007 + 0.032 + 0.2 + 0.1
    found = plan(question(rate=3000, latency=floor + math.log(100) / 500), measurements())
    assert found.load.replicas == 6  # each 1000 - 500
    assert found.latency <= floor + math.log(100) / 500 + 1e-9


def test_a_latency_below_what_one_job_takes_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--latency: no number of replicas does 99 % within 0\.3 s.*0\.364 s"):
        plan(question(latency=0.3), measurements())


def test_more_replicas_than_a_plan_covers_are_named() -> None:
    with pytest.raises(SettingsError, match=r"--rate: 1\.3e\+06 images/s need 1,301 replicas.*one does 1000\.0/s"):
        plan(question(rate=1_300_000), measurements())


def test_the_table_goes_from_one_replica_to_a_thousand_and_has_the_answer() -> None:
    found = plan(question(rate=5000, headroom=0.3), measurements())
    assert [row.replicas for row in found.table] == [1, 2, 4, 7, 8, 16, 32, 64, 128, 256, 512, MOST_REPLICAS]
    assert found.table[0].first_limit == "engine"
    assert found.table[-1].first_limit == "S3 GETs: 140 prefixes"


rates = st.floats(min_value=0.01, max_value=500_000)


@given(rates, rates, st.floats(min_value=0, max_value=1), st.sampled_from([None, 0.5, 5.0]))
def test_more_rate_never_needs_fewer_replicas(one: float, other: float, headroom: float, latency: float | None) -> None:
    less, more = (
        plan(question(rate=rate, headroom=headroom, latency=latency), measurements())
        for rate in sorted((min(one, 300_000), min(other, 300_000)))
    )
    assert less.load.replicas <= more.load.replicas


@given(rates.filter(lambda rate: rate < 300_000), st.floats(min_value=0, max_value=2))
def test_a_plan_holds(rate: float, headroom: float) -> None:
    """Partitions for all, no replica over its limit, and what is done comes to an end."""
    found = plan(question(rate=rate, headroom=headroom), measurements())
    assert found.load.partitions >= 2 * found.load.replicas
    assert 0 < found.utilisation < 1
    assert found.latency > 0
    assert found.catch_up >= 0
    for row in found.table:
        assert row.partitions >= 2 * row.replicas
        assert busiest(row.rate, row.partitions, row.replicas) <= found.capacity.rate * (1 + 1e-9)


def test_partitions_bear_the_loss_of_a_replica_where_that_can_be() -> None:
    assert busiest(7.4, 20, 10) <= 0.95
    assert busiest(7.4, 20, 9) > 1.0
    assert partitions_for(10, 7.4, most=0.95, capacity=1.0) == 24
    assert busiest(7.4, 24, 9) <= 1.0
    assert partitions_for(1, 0.5, most=0.9, capacity=1.0) == 12


def test_a_plan_and_its_json_are_the_same() -> None:
    found = plan(question(rate=5000, latency=2.0), measurements())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found


def test_every_limit_is_planned_with() -> None:
    assert set(capacity_of(question(), measurements()).bounds) == set(LIMITS)


# --- what people write ----------------------------------------------------------------------------------------------


def test_measurements_are_what_was_saved(tmp_path: Path) -> None:
    save_measurements(measurements(), tmp_path / "gpu.json")
    assert read_measurements(tmp_path / "gpu.json") == measurements()


def test_measurements_that_cannot_be_saved_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file.*none/gpu\.json"):
        save_measurements(measurements(), tmp_path / "none/gpu.json")


@pytest.mark.parametrize(
    ("was", "becomes", "fact"),
    [
        (b"inspection.measurements/1", b"inspection.measurements/2", "holds inspection.measurements/2, this version"),
        (b'"decode": 0.005', b'"decode": -1', r"\$\.work\.decode"),
        (b'"decode": 0.005', b'"decode": 0', r"\$\.work\.decode"),
        (b'"seconds": 0.001', b'"seconds": 1e99', r"\$\.engine\.seconds"),
        (b'"seconds": 0.001', b'"seconds": "fast"', r"\$\.engine\.seconds"),
        (b'"places": 2', b'"places": 0', r"\$\.engine\.places"),
        (b'"places"', b'"seats"', "seats"),
        (b"}", b"", "holds no measurements"),
    ],
)
def test_measurements_that_cannot_be_are_refused(tmp_path: Path, was: bytes, becomes: bytes, fact: str) -> None:
    file = tmp_path / "gpu.json"
    save_measurements(measurements(), file)
    file.write_bytes(file.read_bytes().replace(was, becomes))
    with pytest.raises(SettingsError, match=rf"--measurements: .*gpu\.json .*{fact}"):
        read_measurements(file)


def test_measurements_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json cannot be read: No such file"):
        read_measurements(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("0.02", 0.02), ("2 s", 2), ("5min", 300), ("80us", 8e-5)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text, option="--commit", least=0, most=600) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "1e3", "20 parsecs", "11min"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="--commit: "):
        seconds_of(text, option="--commit", least=0, most=600)
