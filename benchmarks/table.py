"""How do the results read? Ratios first, then what they are made of; a case without numbers says why."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from benchmarks import figures
from benchmarks.cases import DECODE, ENGINE, FETCH, KAFKA, NAIVE, Case
from benchmarks.figures import Rounds
from benchmarks.run import Results
from benchmarks.samples import Sample

NOTHING = "–"
COLUMNS = (
    "case",
    "conditions",
    "× naive",
    "÷ bare engine",
    "÷ bound",
    "images/s",
    "CPU ms an image: program",
    "broker",
    "store",
    "RSS, MiB",
    "agreement",
    "Δ confidence",
    "precision, shapes, decode or lists",
)


def page(results: Results) -> str:
    """The whole Markdown page of a run."""
    parts = [f"# Benchmark: {results.about['name']}", _about(results)]
    for title, cases in results.groups():
        parts += [f"## {title}", _table(COLUMNS, (row(results, case) for case in cases))]
    parts += [*_budgets(results), *_stages(results), *_latencies(results), *_memory(results), LEGEND]
    return "\n\n".join(parts) + "\n"


def row(results: Results, case: Case) -> list[str]:
    """A line of the table; what was not measured is a dash."""
    rounds = results.of(case)
    what = [case.name, case.conditions]
    how = _how(case)
    if not rounds:
        reasons = sorted({failure.reason for failure in results.failures.get(case.key, {}).values()})
        return [*what, "did not run: " + "; ".join(reasons), *[""] * (len(COLUMNS) - 4), how]
    failed = len(results.failures.get(case.key, {}))
    note = f" ({failed} of {failed + len(rounds)} rounds failed)" if failed else ""
    return [
        case.name + note,
        case.conditions,
        _number(_times_naive(results, case), "{:.2f}"),
        _number(figures.ratio(rounds, _bare_engine(results, case)) if _has_model(case) else None, "{:.2f}"),
        _number(_share_of_bound(results, case), "{:.2f}"),
        _rate(rounds),
        *(_milliseconds(figures.cpu_per_image(rounds, process)) for process in ("program", "broker", "store")),
        _mebibytes(rounds),
        *_agreement(rounds),
        how,
    ]


def _times_naive(results: Results, case: Case) -> float | None:
    if case.kind == "bare" or case.name == KAFKA or case.rate is not None:
        return None
    return figures.ratio(results.of(case), results.like(case, NAIVE))


def _bare_engine(results: Results, case: Case) -> Rounds:
    """The same engine alone at the same precision and shapes, on the same size of images."""
    for other in results.cases.values():
        if other.program == "engine" and _engine_of(other) == _engine_of(case):
            return results.of(other)
    return {}


def _engine_of(case: Case) -> tuple[str, str, str, str]:
    return case.engine, case.precision, case.shapes, case.workload.size


def _bare_decode(results: Results, case: Case) -> Rounds:
    """Decoding alone, in the same way; what fast would not change is the same."""
    found: Rounds = {}
    for other in results.cases.values():
        if other.program == "decode" and other.workload == case.workload and other.decode in {"exact", case.decode}:
            found = results.of(other)
    return found


def _has_model(case: Case) -> bool:
    return (case.kind == "consumer" and case.is_model) or case.program == "control"


def _needed(results: Results, case: Case) -> float | None:
    """CPU seconds an image of engine and decoding alone."""
    alone = [figures.cpu_per_image(of(results, case), "program") for of in (_bare_engine, _bare_decode)]
    return None if None in alone else sum(filter(None, alone))


def _share_of_bound(results: Results, case: Case) -> float | None:
    needed = _needed(results, case)
    if case.kind != "consumer" or not case.is_model or case.rate is not None or needed is None:
        return None
    return figures.share_of_bound(results.of(case), cores=results.about["cores"], needed=needed)


def _budgets(results: Results) -> list[str]:
    """What the pipeline takes beyond engine and decoding."""
    rows = []
    for case in results.cases.values():
        spent, needed = figures.cpu_per_image(results.of(case), "program"), _needed(results, case)
        if case.kind == "consumer" and case.rate is None and spent is not None:
            decode = figures.cpu_per_image(_bare_decode(results, case), "program")
            base = needed if case.is_model else decode
            left = None if base is None else spent - base
            parts = [spent, needed and decode and needed - decode if case.is_model else 0.0, decode, left]
            rows.append([case.name, case.conditions, *map(_milliseconds, parts)])
    columns = ("case", "conditions", "process", "− engine alone", "− decoding alone", "= the rest")
    return ["## CPU ms an image, by what it is for", _table(columns, rows)] if rows else []


def _stages(results: Results) -> list[str]:
    rows, names = [], ("queue", "fetch", "decode", "detect", "total")
    for case in results.cases.values():
        samples = [sample for sample in results.of(case).values() if sample.stages]
        if samples:
            means = [_median(samples, lambda sample, name=name: sample.stages.get(name)) for name in names]  # type: ignore[misc]
            rows.append([case.name, case.conditions, *map(_milliseconds, means)])
    title = "## Where a job's time goes: mean wall ms by the consumer's own metrics, waiting included"
    return [title, _table(("case", "conditions", *names), rows)] if rows else []


def _latencies(results: Results) -> list[str]:
    rows = []
    for case in results.cases.values():
        samples = [sample for sample in results.of(case).values() if sample.latencies]
        if samples:
            values = [_median(samples, lambda sample, name=name: sample.latencies.get(name)) for name in ("p50", "p99")]  # type: ignore[misc]
            images = median(sample.images for sample in samples)
            state = "caught up" if case.rate is not None else f"backlog of {images:.0f}"
            rows.append([case.name, case.conditions, state, *map(_milliseconds, values)])
    title = "## Latency: ms from publishing to a `read_committed` reader"
    return [title, _table(("case", "conditions", "state", "p50", "p99"), rows)] if rows else []


def _memory(results: Results) -> list[str]:
    rows = []
    for case in results.cases.values():
        for number, sample in results.of(case).items():
            found = figures.tenths(sample.memory) if case.group == "memory" else None
            if found:
                second, last = (f"{value / 2**20:.0f}" for value in found)
                share = f"{found[1] / found[0]:.3f}"
                rows.append([case.name, str(number + 1), str(sample.images), second, last, share])
    columns = ("case", "round", "jobs", "second tenth, MiB", "last tenth, MiB", "last ÷ second")
    return ["## Memory over time", _table(columns, rows)] if rows else []


def _agreement(rounds: Rounds) -> tuple[str, str]:
    last = [sample.agreement for sample in rounds.values() if sample.agreement is not None][-1:]
    if not last:
        return NOTHING, NOTHING
    (agreement,) = last
    share = _number(agreement.share, "{:.1%}")
    return f"{share} of {agreement.expected}", _number(agreement.confidence_apart, "{:.4f}")


def _how(case: Case) -> str:
    if case.program in {"fetch", "kafka_only"}:
        return NOTHING
    if case.program == "decode":
        return case.decode
    if not case.is_model:
        return f"no model, {case.shapes}, {case.decode}"
    words = [case.precision, case.shapes]
    if case.kind == "consumer":
        words.append(case.decode)
    elif case.kind != "bare":
        words.append(f"lists of {case.batch}" if case.batch > 1 else "one by one")
    return ", ".join(words)


def _rate(rounds: Rounds) -> str:
    rate, spread = figures.median_rate(rounds), figures.spread(rounds)
    if rate is None or spread is None:
        return NOTHING
    return f"{rate:.1f} ({spread[0]:.1f}–{spread[1]:.1f})"


def _mebibytes(rounds: Rounds) -> str:
    most = max((sample.rss for sample in rounds.values()), default=0)
    return f"{most / 2**20:.0f}" if most else NOTHING


def _milliseconds(seconds: float | None) -> str:
    return _number(None if seconds is None else seconds * 1000, "{:.2f}")


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def _median(samples: Sequence[Sample], value: Callable[[Sample], float | None]) -> float | None:
    return figures.median_of(found for sample in samples if (found := value(sample)) is not None)


def _about(results: Results) -> str:
    about = results.about
    lines = [f"{about['date']}, {about['rounds']} rounds, each case for about {about['seconds']:g} s a round."]
    for title in ("machine", "versions", "weights", "settings"):
        facts = ", ".join(f"{name} {value}" for name, value in about[title].items())
        lines.append(f"- {title}: {facts}")
    return "\n".join([lines[0], "", *lines[1:]])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


LEGEND = f"""## How to read it

- **× naive**: images/s divided by those of the loop people write, in the same round; the median of these quotients.
- **÷ bare engine**: images/s divided by those of the same engine alone at the same precision and shapes, on all cores.
- **÷ bound**: images/s divided by the bound 1 ÷ (engine + decoding), their CPU seconds measured alone, on the cores
  that broker and store leave.
- **images/s**: median (least–greatest). **CPU** counts the program with all its children, in user and system mode.
- **agreement**: of all detections on both sides the share that has a partner in Ultralytics' `predict` on the same
  files with the same `.pt` and shapes (same class, IoU ≥ 0.9), of so many that `predict` finds; **Δ confidence**: the
  mean difference within a pair.
- *{ENGINE}*, *{DECODE}*, *{FETCH}*, *{KAFKA}* are parts alone. {NOTHING} means not measured, or without a meaning.
"""
