"""Is every outcome there exactly once, in order, whatever ends or stalls a process between any two of its steps?

Hypothesis runs whole processes (runner, ledger, custodian, source, exactly-once delivery: all the shipped ones) against
a model of a broker, call by call: each may be stalled, ended, evicted or left without an answer before and behind every
call. `make check` runs a few fixed examples; for hours of others:

    MACHINE_EXAMPLES=100000 .venv/bin/pytest --timeout 0 tests/unit/test_delivery_machine.py
"""

import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consumer.errors import Fatal
from consumer.runner import Stopped
from tests.rigs.model_broker import Broker, Kind, Outcome, Refused
from tests.rigs.model_clients import Fate
from tests.rigs.model_process import Clock, Process, install

pytestmark = pytest.mark.thorough

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "0"))
PARTITIONS, OUTPUTS = 3, 2
SLOTS = ("a", "b")
MOST_DEATHS = 5
FAR = 40  # calls of one process in one step of the test
ROUNDS = 400  # of half a second, within which everything must be done once nothing fails any more

CALLS = ["begin", "produce", "offsets", "commit", "abort", "init", "pump", "leave"]
POINTS = [
    *("poll", "standing", "start", "begin", "produce"),
    *("offsets", "offsets done", "commit", "commit done", "abort done", "init done"),
]
EVENTS = [
    "nothing",
    "evicted",
    "evicted, and its client has heard of it",
    "rebalance",
    "rebalance, and its client has heard of it",
    "late request",
    "long enough for a transaction to time out",
    "stopped",
]
KINDS: list[Kind] = ["plain", "plain", "plain", "plain", "plain", "large", "killer"]

which = st.integers(0, 5)
partitions = st.integers(0, PARTITIONS - 1)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hundreds of processes die loudly here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class DeliveryMachine(RuleBasedStateMachine):
    """The world around the processes, and who of them is still there."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        install(self.patch, self.clock)
        self.processes: list[Process] = []
        self.deaths: Counter[tuple[int, int, int]] = Counter()
        self.is_broken = False

    @initialize(protocol=st.sampled_from(["classic", "consumer"]), is_eager=st.booleans())
    def begin(self, protocol: str, *, is_eager: bool) -> None:
        """Eager workers go on with their jobs between any two calls of the loop, others only between its turns."""
        self.is_eager = is_eager
        self.broker = Broker(lambda: self.clock.now, partitions=PARTITIONS, outputs=OUTPUTS, protocol=protocol)
        for slot in SLOTS:
            self._start(slot)
        for number in range(4):
            self.go(number, 1)
        for partition in range(PARTITIONS):
            self.publish(partition, ["plain"])

    def teardown(self) -> None:
        try:
            if hasattr(self, "broker") and not self.is_broken:
                self._settle()
        finally:
            for process in self.processes:
                process.kill()
            self.patch.undo()

    # --- jobs -----------------------------------------------------------------------------------------------------

    @rule(partition=partitions, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def publish(self, partition: int, kinds: list[Kind]) -> None:
        """One record of so many jobs."""
        events = [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "parts"}, "object": {"key": kind}}}
            for kind in kinds
        ]
        native = {"schema": "inspection.job/1", "image": f"s3://parts/{kinds[0]}"}
        self.broker.publish(partition, json.dumps({"Records": events} if len(kinds) > 1 else native).encode(), kinds)

    @rule(partition=partitions, before=st.integers(0, 9), last=st.sampled_from(["killer", "bad", "marker", "no job"]))
    def publish_many(self, partition: int, before: int, last: str) -> None:
        for _ in range(before):
            self.publish(partition, ["plain"])
        match last:
            case "killer":
                self.publish(partition, ["killer"])
            case "bad":
                self.broker.publish(partition, b"{", ["bad"])
            case "marker":
                self.broker.publish_marker(partition)
            case _:
                self.broker.publish(partition, b'{"Service": "Amazon S3", "Event": "s3:TestEvent"}', [])

    # --- processes ------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Process]:
        return [process for process in self.processes if process.is_running]

    def one(self, number: int) -> Process:
        return self.running[number % len(self.running)]

    def _start(self, slot: str) -> None:
        """What an orchestrator does: a slot has one process."""
        if all(process.slot != slot for process in self.running):
            self.processes.append(Process(slot, self.broker, self.clock))

    @precondition(lambda self: len(self.running) == 1)
    @rule(number=which)
    def start_twin(self, number: int) -> None:
        """What an orchestrator must not do."""
        self.processes.append(Process(self.one(number).slot, self.broker, self.clock))

    @rule(number=which, turns=st.integers(1, 4))
    def go(self, number: int, turns: int) -> None:
        """Who is dead has been noticed by now, and is there again."""
        self._expire_the_dead()
        for slot in SLOTS:
            self._start(slot)
        self._go(self.one(number), turns)

    @precondition(lambda self: any(process.begun for process in self.running))
    @rule(number=which, job=which)
    def work(self, number: int, job: int) -> None:
        busy = [process for process in self.running if process.begun]
        process = busy[number % len(busy)]
        process.work(process.begun[job % len(process.begun)])

    # --- what befalls them ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.running)
    @rule(number=which, point=st.sampled_from(["here", *POINTS]))
    def kill(self, number: int, point: str) -> None:
        process = self.one(number)
        if point != "here":
            self._feed()
            self._go_to(process, point)
        process.kill()

    @precondition(lambda self: self.running)
    @rule(number=which, point=st.sampled_from(POINTS), event=st.sampled_from(EVENTS), turns=st.integers(0, 4))
    def stall_at(self, number: int, point: str, event: str, turns: int) -> None:
        """It stands still while something happens and the others go on; then it does not know."""
        process = self.one(number)
        self._feed()
        self._go_to(process, point)
        self._happen(event, process)
        for other in self.running:
            if other is not process:
                self._go(other, turns)

    @precondition(lambda self: any(process.point in CALLS for process in self.running))
    @rule(number=which, fate=st.sampled_from(Fate), event=st.sampled_from(EVENTS))
    def go_on(self, number: int, fate: Fate, event: str) -> None:
        """One that stands before a call comes to the next."""
        stalled = [process for process in self.running if process.point in CALLS]
        process = stalled[number % len(stalled)]
        process.step(fate)
        self._happen(event, process)

    @precondition(lambda self: self.running)
    @rule(
        number=which,
        call=st.sampled_from(["commit", "offsets"]),
        fate=st.sampled_from([fate for fate in Fate if fate is not Fate.GO]),
        times=st.sampled_from([1, 1, 1, 2, 6]),
        event=st.sampled_from(EVENTS),
    )
    def fail_at(self, number: int, call: str, fate: Fate, times: int, event: str) -> None:
        """It stands behind the call that failed, and the event has happened."""
        process = self.one(number)
        self._feed()
        for _ in range(times):
            if self._go_to(process, call):
                process.step(fate)
        self._happen(event, process)

    def _feed(self) -> None:
        """Without a job nothing is delivered."""
        for partition in range(PARTITIONS):
            self.publish(partition, ["plain"])

    def _happen(self, event: str, process: Process) -> None:
        match event:
            case "evicted":
                self._evict(process)
            case "evicted, and its client has heard of it":
                self._evict(process)
                self._hear(process)
            case "rebalance":
                self.broker.group.rebalance(by=1)
            case "rebalance, and its client has heard of it":
                self.broker.group.rebalance(by=1)
                self._hear(process)
            case "late request":
                self._arrive()
            case "long enough for a transaction to time out":
                self._wait(13)
            case "stopped":
                process.stopping.set()

    def _evict(self, process: Process) -> None:
        """The coordinator has not heard of it for too long."""
        for member, name in list(self.broker.group.members.items()):
            if name == process.name:
                self.broker.group.leave(member)

    def _hear(self, process: Process) -> None:
        """The client's own thread follows the group, while the program does not poll."""
        if process.consumer is not None:
            process.consumer.hear()

    def _arrive(self) -> None:
        """A request that was given up by its client reaches the broker after all."""
        if self.broker.late:
            request = self.broker.late.pop(0)
            with contextlib.suppress(Refused):
                request()

    @precondition(lambda self: self.running)
    @rule(number=which, event=st.sampled_from(EVENTS))
    def happen(self, number: int, event: str) -> None:
        self._happen(event, self.one(number))

    @rule(seconds=st.sampled_from([0.3, 3, 7, 70]))
    def wait(self, seconds: float) -> None:
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.broker.time_out()

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_went_wrong(self) -> None:
        self.is_broken = True
        self._bury()
        assert not self.broker.violations, "\n".join([*self.broker.history[-30:], *self.broker.violations])
        self._judge_killers()
        self.is_broken = False

    def _bury(self) -> None:
        """Those that ended leave the group's books only when the coordinator notices; see how they ended."""
        for process in [process for process in self.processes if not process.is_running]:
            self.processes.remove(process)
            self._judge_end(process)

    def _judge_end(self, process: Process) -> None:
        for job in process.deaths:
            if self.broker.group.processes.get(job[0]) == process.name:  # else another one answers for the partition
                self.deaths[job] += 1
        if process.is_dead:
            return
        assert isinstance(process.ended, Stopped | Fatal), repr(process.ended)

    def _judge_killers(self) -> None:
        for job, count in self.deaths.items():
            assert count <= MOST_DEATHS, f"{job} ended {count} processes"

    def _settle(self) -> None:
        """Nothing fails any more: now everything must be done within reasonable time."""
        for _ in range(ROUNDS):
            while self.broker.late:
                self._arrive()
            for slot in SLOTS:
                self._start(slot)
            for process in self.running:
                self._go(process, 1)
            self._wait(0.5)
            self._expire_the_dead()
            self.nothing_went_wrong()
            if self._is_all_done():
                break
        else:
            pytest.fail(f"not done in the end: {self._undone()}")
        self._judge_topics()

    def _expire_the_dead(self) -> None:
        alive = {process.name for process in self.running}
        for member, process in list(self.broker.group.members.items()):
            if process not in alive:
                self.broker.group.leave(member)

    def _is_all_done(self) -> bool:
        return not self._undone()

    def _undone(self) -> dict[int, int]:
        """Partitions whose committed offset is not behind their last record."""
        ends = {
            partition: max((offset + 1 for offset, value in enumerate(log) if value is not None), default=0)
            for partition, log in enumerate(self.broker.logs)
        }
        committed = {partition: stand.offset for partition, stand in self.broker.committed.items()}
        return {partition: end for partition, end in ends.items() if committed.get(partition, 0) < end}

    def _judge_topics(self) -> None:
        seen: list[Outcome] = []
        for topic, output in self.broker.topics:
            outcomes = self.broker.read(topic, output)
            seen += outcomes
            assert all(one.partition % OUTPUTS == output for one in outcomes)
            for partition in range(PARTITIONS):
                places = [(one.offset, one.job) for one in outcomes if one.partition == partition]
                assert places == sorted(places), f"{topic} of partition {partition} is out of order"
        asked = [(number, one.offset, one.job) for number, jobs in enumerate(self.broker.asked) for one in jobs]
        assert sorted((one.partition, one.offset, one.job) for one in seen) == sorted(asked)

    # --- moving them ----------------------------------------------------------------------------------------------

    def _go_to(self, process: Process, point: str, *, at_most: int = FAR) -> bool:
        """Whether it came there."""
        for _ in range(at_most):
            if not process.is_running or process.point == point:
                break
            if process.point == "poll" or self.is_eager:
                self._work(process)
            if process.is_running:
                process.step()
        return process.is_running and process.point == point

    def _go(self, process: Process, turns: int) -> None:
        for _ in range(turns):
            self._turn(process)
            self._work(process)

    def _turn(self, process: Process) -> None:
        if process.is_running:
            process.step()
        for _ in range(FAR):
            if self.is_eager:
                self._work(process)
            if process.is_running and process.point != "poll":
                process.step()
        self.clock.now += 0.05

    def _work(self, process: Process) -> None:
        for fiber in process.begun:
            while process.is_running and not fiber.is_done:
                process.work(fiber)
                if fiber.point == "leave":
                    break


TestDeliveryMachine = DeliveryMachine.TestCase
TestDeliveryMachine.settings = settings(
    max_examples=EXAMPLES or 30,
    stateful_step_count=30,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


# --- one fault at a time, without luck ----------------------------------------------------------------------------


def after(fault: Callable[[DeliveryMachine], None], *, is_eager: bool = False) -> None:
    """Two processes at work, the fault, then the same one goes on or the other does, and a late request comes in the
    middle of what is next; then all must be well."""
    for turns_of_others in (0, 4):
        machine = DeliveryMachine()
        try:
            machine.begin("classic", is_eager=is_eager)
            machine.go(0, 2)
            machine.go(1, 2)
            fault(machine)
            machine.nothing_went_wrong()
            if machine.running:
                machine.stall_at(0, "offsets", "late request", turns_of_others)
                machine._go(machine.one(0), 2)
                machine.nothing_went_wrong()
        finally:
            machine.teardown()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("call", ["offsets", "commit"])
def test_whatever_a_call_comes_to_and_whatever_happens_meanwhile(call: str, event: str) -> None:
    for fate in Fate:
        after(partial(DeliveryMachine.fail_at, number=0, call=call, fate=fate, times=1, event=event))


@pytest.mark.parametrize("call", ["offsets", "commit"])
def test_whatever_a_call_comes_to_again_and_again(call: str) -> None:
    for fate in Fate:
        after(partial(DeliveryMachine.fail_at, number=0, call=call, fate=fate, times=6, event="nothing"))


@pytest.mark.parametrize("point", POINTS)
def test_whatever_happens_to_a_process_that_stands_still(point: str) -> None:
    for event in EVENTS:
        after(partial(DeliveryMachine.stall_at, number=0, point=point, event=event, turns=4), is_eager=True)


@pytest.mark.parametrize("point", POINTS)
def test_wherever_a_process_is_killed(point: str) -> None:
    for is_eager in (False, True):
        after(partial(DeliveryMachine.kill, number=0, point=point), is_eager=is_eager)


@pytest.mark.parametrize("before", [0, 5, 9])
def test_a_job_that_kills_ends_five_processes_at_the_most(before: int) -> None:
    for is_eager in (False, True):
        after(partial(DeliveryMachine.publish_many, partition=0, before=before, last="killer"), is_eager=is_eager)
