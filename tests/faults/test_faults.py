"""The first promise while everything is struck: the short version of `make faults`, with fixed seeds."""

from collections.abc import Callable

import pytest

from tests.faults.cells import SHORT_JOBS, Cell, short_cells, slow_cells
from tests.faults.report import failure_of
from tests.faults.servers import Brokers
from tests.faults.trial import Run, Trial
from tests.rigs.kafka import KafkaCluster
from tests.rigs.kafka_proxy import ProxiedKafka
from tests.rigs.s3 import S3Server

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(300)]

SEED = 1
GetBrokers = Callable[[Cell], Brokers]


@pytest.fixture
def brokers(request: pytest.FixtureRequest) -> GetBrokers:
    """The session's servers, which a cell leaves as it found them."""

    def find(cell: Cell) -> Brokers:
        if "cluster" in cell.needs:
            cluster: KafkaCluster = request.getfixturevalue("kafka_cluster")
            return Brokers(cluster.bootstrap_servers, cluster.bootstrap_servers, cluster)
        if "kafka_proxy" in cell.needs:
            proxied: ProxiedKafka = request.getfixturevalue("proxied_kafka")
            around = proxied.cluster.bootstrap_servers
            return Brokers(around, proxied.bootstrap_servers, proxied.cluster, proxied.proxy)
        address: str = request.getfixturevalue("kafka").bootstrap_servers
        return Brokers(address, address)

    return find


def assert_kept(cell: Cell, protocol: str, s3: S3Server, brokers: Brokers) -> None:
    """No job lost, none done twice, none out of order, nobody stuck; else the story is told and kept."""
    report = Trial(Run(cell, protocol, SEED, SHORT_JOBS), s3, brokers).run()
    assert report.judgement.is_clean, failure_of(report)
    assert set(report.struck) == {fault.name for fault in cell.faults}
    report.history.discard()


def named(cells: tuple[tuple[Cell, str], ...]) -> list[object]:
    marks = {True: [pytest.mark.cluster], False: []}
    return [pytest.param(*each, id=each[0].name, marks=marks["cluster" in each[0].needs]) for each in cells]


@pytest.mark.parametrize(("cell", "protocol"), named(short_cells()))
def test_every_job_has_one_outcome_in_order_while_everything_around_it_is_struck(
    s3: S3Server, brokers: GetBrokers, cell: Cell, protocol: str
) -> None:
    assert_kept(cell, protocol, s3, brokers(cell))


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "protocol"), named(slow_cells()))
def test_and_while_it_is_struck_by_what_takes_longer(
    s3: S3Server, brokers: GetBrokers, cell: Cell, protocol: str
) -> None:
    assert_kept(cell, protocol, s3, brokers(cell))
