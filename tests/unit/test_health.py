"""Do the pages tell the truth about the process?"""

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from consumer.errors import SettingsError
from consumer.health import STALL, Health, HealthServer
from consumer.metrics import Metrics
from consumer.settings import HttpSettings

Get = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health(metrics: Metrics) -> Health:
    return Health(metrics, ("engine", "store"))


@pytest.fixture
def get(health: Health, metrics: Metrics, caplog: pytest.LogCaptureFixture) -> Iterator[Get]:
    """`get("/livez")`: status, content type, body. Port 0 takes a free one, which the log tells."""
    caplog.set_level(logging.INFO)
    with HealthServer(HttpSettings(port=0), health, metrics):
        (port,) = (getattr(record, "port", 0) for record in caplog.records if record.msg == "http is listening")

        def get(path: str) -> tuple[int, str, str]:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.headers["Content-Type"], answer.read().decode()

        yield get


def test_ready_is_when_every_check_is_green(get: Get, health: Health) -> None:
    assert get("/readyz") == (503, "application/json", '{"engine": "starting", "store": "starting"}')
    health.set("engine", None)
    assert get("/readyz") == (503, "application/json", '{"engine": "ok", "store": "starting"}')
    health.set("store", None)
    assert get("/readyz") == (200, "application/json", '{"engine": "ok", "store": "ok"}')
    health.set("store", "SlowDown")
    assert get("/readyz?verbose=1") == (503, "application/json", '{"engine": "ok", "store": "SlowDown"}')


def test_the_gauge_says_what_readyz_says(get: Get, health: Health) -> None:
    for check in ("engine", "store"):
        assert "inspection_ready 0.0" in get("/metrics")[2]
        health.set(check, None)
    assert "inspection_ready 1.0" in get("/metrics")[2]
    health.set("engine", "broken")
    assert "inspection_ready 0.0" in get("/metrics")[2]


def test_a_process_lives_until_its_loop_stands_still(get: Get, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("consumer.health.time.monotonic", lambda: now[0])
    assert get("/livez")[0] == 200  # it is still starting

    health.turned()
    now[0] += STALL
    assert get("/livez") == (200, "application/json", '{"loop": "ok"}')
    now[0] += 1
    assert get("/livez") == (503, "application/json", '{"loop": "no turn for 61 s"}')
    health.turned()
    assert get("/livez")[0] == 200


def test_an_unready_process_is_alive(get: Get, health: Health) -> None:
    health.set("engine", "broken")

    assert (get("/livez")[0], get("/readyz")[0]) == (200, 503)


def test_what_is_asked_for_by_head_has_no_body(health: Health, metrics: Metrics) -> None:
    with (
        HealthServer(HttpSettings(port=0), health, metrics) as server,
        socket.create_connection(("127.0.0.1", server._server.server_address[1]), timeout=10) as connection,
    ):
        connection.sendall(b"HEAD /livez HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.0 200 ")
    assert answer.endswith(b"\r\n\r\n")


def test_other_paths_are_not_here(get: Get) -> None:
    status, _, body = get("/x")

    assert (status, json.loads(body)) == (404, {"path": "/x is not here"})


def test_the_metrics_have_the_agreed_names(get: Get, metrics: Metrics) -> None:
    metrics.jobs.labels("result", "").inc()
    status, content_type, body = get("/metrics")

    assert status == 200
    assert content_type.startswith("text/plain")
    assert 'inspection_jobs_total{outcome="result",reason=""} 1.0' in body
    names = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE inspection_")}
    assert {
        "inspection_jobs_total",
        "inspection_stage_seconds",
        "inspection_batch_size",
        "inspection_in_flight_jobs",
        "inspection_in_flight_bytes",
        "inspection_lag_jobs",
        "inspection_lag_seconds",
        "inspection_deliveries_total",
        "inspection_delivery_seconds",
        "inspection_rebalances_total",
        "inspection_retries_total",
        "inspection_ready",
        "inspection_model_info",
    } <= names


def test_a_port_that_is_taken_is_a_settings_error(health: Health, metrics: Metrics) -> None:
    with HealthServer(HttpSettings(port=0), health, metrics) as server:
        port = server._server.server_address[1]
        with pytest.raises(SettingsError, match=rf"http.host, http.port: cannot listen on 127.0.0.1:{port}: Address"):
            HealthServer(HttpSettings(port=port), health, metrics)


def test_a_host_that_is_none_is_a_settings_error(health: Health, metrics: Metrics) -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 203.0.113.7:0: Cannot assign"):
        HealthServer(HttpSettings(host="203.0.113.7", port=0), health, metrics)


def test_no_thread_outlives_the_server(health: Health, metrics: Metrics) -> None:
    with HealthServer(HttpSettings(port=0), health, metrics) as server:
        assert "http" in {thread.name for thread in threading.enumerate()}
    server._thread.join(10)
    assert "http" not in {thread.name for thread in threading.enumerate()}


def test_a_change_is_one_log_line_and_a_repetition_none(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for reason in ("starting", None, None, "SlowDown", "SlowDown", None):
        health.set("engine", None)
        health.set("store", reason)

    told = [(record.msg, getattr(record, "reason", None)) for record in caplog.records]
    assert told == [("ready", None), ("not ready", "SlowDown"), ("ready", None)]
