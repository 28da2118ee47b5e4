"""How is one cell run: blow after blow while jobs flow, and what is seen of it?"""

import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.faults.cells import Cell
from tests.faults.history import History
from tests.faults.judgement import Evidence, Judgement, judge_cell, known_by
from tests.faults.offsets import committed, log_ends, published
from tests.faults.schedule import Strike, strikes_of
from tests.faults.servers import Brokers
from tests.faults.staging import Stage, open_stage
from tests.faults.traffic import wait_sent
from tests.faults.witness import CompactReader, Recovery
from tests.rigs.s3 import S3Server

STUCK_AFTER = 150.0
"""Seconds without one new outcome, while jobs wait and nothing is struck, after which a cell is given up. The longest
honest silence is a broker's: a session, a transaction time-out and the broker's look for those (28 s), and then the
partitions' jobs one at a time."""
READY_WITHIN = 60.0
COMMITTED_WITHIN = 30.0
LOOK = 0.05


@dataclass(frozen=True)
class Run:
    """Which cell, and all that it depends on."""

    cell: Cell
    protocol: str
    seed: int
    jobs: int

    @property
    def count(self) -> int:
        return min(self.jobs, self.cell.most_jobs or self.jobs)

    @property
    def command(self) -> str:
        chosen = f"--cell {self.cell.name} --protocol {self.protocol} --seed {self.seed} --jobs {self.jobs}"
        return f"python -m tests.faults {chosen}"


@dataclass
class Report:
    """What a run came to."""

    run: Run
    judgement: Judgement
    jobs: int
    struck: list[str]
    recoveries: list[Recovery]
    seconds: float
    peak_bytes: int
    history: History = field(repr=False)


class Trial:
    """One run of a cell. Everything that starts processes is done by the thread that calls `run`."""

    def __init__(self, run: Run, store: S3Server, brokers: Brokers) -> None:
        self._run = run
        self._store = store
        self._brokers = brokers
        self._over = threading.Event()
        self._unexpected: list[str] = []
        self._unready: list[str] = []
        self._is_striking = False
        facts = {**vars(run), "cell": vars(run.cell), "command": run.command}
        self._history = History(f"{run.cell.name}-{run.protocol}-{run.seed}", facts)

    def run(self) -> Report:
        began = time.monotonic()
        run = self._run
        with ExitStack() as stack:
            stage = open_stage(
                run.cell,
                run.protocol,
                store=self._store,
                brokers=self._brokers,
                history=self._history,
                over=self._over,
                stack=stack,
            )
            stack.callback(self._over.set)
            threading.Thread(target=self._watch, args=(stage,), name="watch", daemon=True).start()
            struck = self._strike_all(strikes_of(run.cell.faults, run.seed, run.count), stage)
            evidence = self._end(stage)
        judgement = judge_cell(evidence)
        self._history.note(f"verdict: {judgement}")
        return Report(
            run=run,
            judgement=judgement,
            jobs=len(evidence.prints),
            struck=struck,
            recoveries=stage.witness.recoveries,
            seconds=time.monotonic() - began,
            peak_bytes=stage.fleet.peak_bytes,
            history=self._history,
        )

    # --- while jobs flow ------------------------------------------------------------------------------------------

    def _strike_all(self, strikes: list[Strike], stage: Stage) -> list[str]:
        """Each strike has an equal share of the jobs, and comes when a part of that is sent."""
        traffic = stage.traffic
        share = self._run.count // (len(strikes) + 1)
        struck = []
        for strike in strikes:
            start = traffic.sent
            used_up = traffic.release(share)
            if not wait_sent(traffic, start + round(share * strike.at), self._over):
                break
            struck.append(strike.fault.name)
            self._strike(strike, stage)
            stage.fleet.check()
            if not wait_sent(traffic, used_up, self._over):
                break
        wait_sent(traffic, traffic.release(max(0, self._run.count - traffic.sent)), self._over)
        return struck

    def _strike(self, strike: Strike, stage: Stage) -> None:
        name, witness = strike.fault.name, stage.witness
        healed: list[Recovery] = []
        stage.world.healed = lambda: healed.append(witness.healed(name))
        self._history.note(f"STRIKE {name}, seed {strike.seed}")
        self._is_striking = True
        try:
            strike.fault.strike(stage.world, strike.rng)
        except Exception as error:  # noqa: BLE001  # told by the verdict
            self._history.note(f"UNEXPECTED: {name}: {traceback.format_exc()}")
            self._unexpected.append(f"strike {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        finally:
            witness.grew_at = time.monotonic()
            self._is_striking = False
        if not healed:
            stage.world.healed()
        self._history.note(f"end of {name}, {witness.count} outcomes seen so far")

    def _watch(self, stage: Stage) -> None:
        """Give up when nothing moves any more."""
        while not self._over.wait(1):
            missing = stage.traffic.sent - stage.witness.count
            silence = time.monotonic() - stage.witness.grew_at
            is_stuck = missing > 0 and not self._is_striking and silence > STUCK_AFTER
            if is_stuck or stage.traffic.refused:
                self._unready.append(f"no outcome for {silence:.0f} s, {missing} missing {stage.traffic.refused[:1]}")
                self._history.note(f"STUCK: {self._unready[-1]}")
                self._over.set()

    # --- at the end -----------------------------------------------------------------------------------------------

    def _end(self, stage: Stage) -> Evidence:
        traffic, witness, fleet, topics = stage.traffic, stage.witness, stage.fleet, stage.world.topics
        count = traffic.finish()
        while witness.count < count and not self._over.is_set() and witness.trouble is None:
            time.sleep(LOOK)
        self._history.note(f"{count} jobs sent, {witness.count} outcomes seen")
        self._unready += fleet.unready(within=READY_WITHIN)
        fleet.check()
        partitions = sorted(traffic.counts)
        ends = log_ends(topics, partitions)
        positions = committed(topics, partitions, ends, within=COMMITTED_WITHIN)
        fleet.drain()
        concurrent = witness.finish()
        with CompactReader(topics.bootstrap_servers, topics.outcomes) as reader:
            final = reader.finish()
        prints, reasons, foreign = known_by(published(topics, ends), traffic.drafts)
        trouble = [*traffic.refused[:1], *foreign, *([witness.trouble] if witness.trouble else [])]
        return Evidence(
            prints=prints,
            reasons=reasons,
            allowed=stage.world.facts.get("allowed", {}),
            concurrent=concurrent,
            final=final,
            committed=positions,
            ends=ends,
            moved_from=topics.partitions if stage.may_move else None,
            unexpected=(*self._unexpected, *fleet.unexpected, *trouble),
            unready=tuple(self._unready),
            peak_bytes=fleet.peak_bytes,
            most_bytes=self._run.cell.most_bytes,
        )
