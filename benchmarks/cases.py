"""Which programs are timed, on which images, under which conditions?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.workload import SIZES, Workload

NAIVE = "naive"
ENGINE, DECODE, FETCH, KAFKA = "bare engine", "decode only", "fetch only", "Kafka only"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table. `kind` says what runs: the consumer, a loop of ours, a part alone, or somebody's framework.

    `program` is the loop's module, the part's name or the framework's folder; `engine` what runs the model where it is
    ours, in `model.engine`'s words. `rate` is that of a trickle in images a second, without it there is a backlog;
    `round_trip` the store's, None without a proxy. `weights`: an .onnx in place of the usual one. `image_size`: the
    model's longer side, in pixels.
    """

    name: str
    group: str
    kind: Literal["consumer", "loop", "bare", "peer"]
    program: str
    workload: Workload
    engine: str = "openvino"
    precision: str = "f32"
    shapes: str = "rectangular"
    decode: str = "exact"
    batch: int = 1
    replicas: int = 1
    round_trip: float | None = None
    rate: float | None = None
    is_model: bool = True
    weights: str = ""
    image_size: int = 640

    @property
    def key(self) -> str:
        return f"{self.name} | {self.conditions}"

    @property
    def conditions(self) -> str:
        words = [self.workload.name]
        if self.round_trip is not None:
            words.append(f"S3 {self.round_trip * 1000:.0f} ms")
        if self.replicas > 1 or self.group == "replicas":
            words.append(f"replicas {self.replicas}")
        if self.group == "memory":
            words.append("long run")
        if self.rate is not None:
            words.append(f"trickle {self.rate:g}/s")
        return ", ".join(words)


MAIN = ("denominators", "pipeline", "people")
GROUPS = (*MAIN, "peers", "onnxruntime", "png", "delays", "replicas", "latency", "memory")
PEERS = {"Quix Streams": "quixstreams", "FastStream": "faststream", "LitServe": "litserve", "Ray Serve": "rayserve"}
ROUND_TRIPS = (0.0, 0.02, 0.08)
FASTEST = {"precision": "bf16", "decode": "fast"}


def all_cases(
    *, trickle: float = 5.0, int8: str = "", image_size: int = 640, shapes: str = "rectangular"
) -> list[Case]:
    """In the order in which a round runs them: what is compared stands close together. `int8`: quantised weights.
    `shapes`: of all but what is square in any case."""
    cases: list[Case] = []
    for size in SIZES:
        images = Workload(size)
        cases += [*_main(images, image_size), *(_quantised(images, int8) if int8 else ())]
        cases += [*_on_onnxruntime(images), *_peers(images)]
    return [_sized(case, image_size, shapes) for case in (*cases, *_more(trickle))]


def _sized(case: Case, image_size: int, shapes: str) -> Case:
    return replace(case, image_size=image_size, shapes="square" if case.shapes == "square" else shapes)


def selected(cases: Sequence[Case], only: Iterable[str], sizes: Iterable[str] = ()) -> list[Case]:
    """Those whose group is named, or, of the main groups and the peers, whose name begins so; `all` names every one.

    Raises ValueError for a word that names none.
    """
    words, wanted = [word.strip().lower() for word in only], set(sizes)
    for word in words:
        if not any(_is_named(case, word) for case in cases):
            raise ValueError(f"{word!r} names no case; groups are {', '.join(GROUPS)} and all")
    chosen = [case for case in cases if any(_is_named(case, word) for word in words)]
    return [case for case in chosen if not wanted or case.workload.size in wanted]


def _is_named(case: Case, word: str) -> bool:
    if word == "all" or word in GROUPS:
        return word in {"all", case.group}
    return case.group in {*MAIN, "peers"} and case.name.lower().startswith(word)


def _main(images: Workload, image_size: int) -> Iterable[Case]:
    def bare(name: str, program: str, **more: str) -> Case:
        return Case(
            name=name,
            group="denominators",
            kind="bare",
            program=program,
            workload=images,
            is_model=program == "engine",
            **more,  # type: ignore[arg-type]
        )

    yield bare(ENGINE, "engine")
    yield bare(f"{ENGINE}, bf16", "engine", precision="bf16")
    yield bare(f"{ENGINE}, square", "engine", shapes="square")
    yield bare(DECODE, "decode")
    if max(SIZES[images.size]) >= 2 * image_size:  # else no smaller decoding is large enough for the model
        yield bare(f"{DECODE}, fast", "decode", decode="fast")
    yield bare(FETCH, "fetch")
    yield replace(bare(KAFKA, "kafka_only"), kind="loop")
    loop = Case(name=NAIVE, group="people", kind="loop", program="naive", workload=images)
    control = replace(loop, name="control: naive with our engine", program="control")
    pipeline = _pipeline(images)
    yield loop
    yield pipeline
    yield control
    yield replace(pipeline, name="pipeline, fastest", **FASTEST)  # type: ignore[arg-type]
    yield replace(loop, name="naive in lists of 16", batch=16)
    yield replace(pipeline, name="pipeline, as installed", shapes="square")
    yield replace(control, name="control in lists of 16", batch=16)
    yield replace(control, name="control, bf16, in lists of 16", batch=16, precision="bf16")
    yield _without_model(pipeline, "pipeline, null engine", "benchmarks.engines:null_engine")


def _quantised(images: Workload, weights: str) -> Iterable[Case]:
    engine = Case(name=f"{ENGINE}, int8", group="denominators", kind="bare", program="engine", workload=images)
    yield replace(engine, precision="int8", weights=weights)
    yield replace(_pipeline(images), name="pipeline, int8", precision="int8", decode="fast", weights=weights)


def _on_onnxruntime(images: Workload) -> Iterable[Case]:
    pipeline = replace(_pipeline(images), name="pipeline, ONNX Runtime", group="onnxruntime", engine="onnxruntime")
    yield replace(pipeline, name=f"{ENGINE}, ONNX Runtime", kind="bare", program="engine")
    yield pipeline


def _pipeline(images: Workload) -> Case:
    return Case(name="pipeline", group="pipeline", kind="consumer", program="consumer", workload=images)


def _without_model(case: Case, name: str, engine: str) -> Case:
    return replace(case, name=name, engine=engine, is_model=False)


def _peers(images: Workload) -> Iterable[Case]:
    for name, folder in PEERS.items():
        batch = 1 if folder == "quixstreams" else 16  # its dataframes take one message after the other
        yield Case(name=name, group="peers", kind="peer", program=folder, workload=images, batch=batch)


def _more(trickle: float) -> Iterable[Case]:
    small, large = (_pipeline(Workload(size)) for size in SIZES)
    for size in SIZES:
        mixed = replace(_pipeline(Workload(size, 0.2)), group="png")
        yield mixed
        yield replace(mixed, name=NAIVE, kind="loop", program="naive")
    for round_trip in ROUND_TRIPS:
        yield replace(small, group="delays", round_trip=round_trip)
    for round_trip in ROUND_TRIPS:
        far = replace(small, group="delays", round_trip=round_trip)
        yield _without_model(far, "pipeline, null engine", "benchmarks.engines:null_engine")
        yield replace(far, name=NAIVE, kind="loop", program="naive")
    for replicas in (1, 2):
        more = replace(small, group="replicas", replicas=replicas)
        yield _without_model(more, "pipeline, waiting engine", "benchmarks.engines:waiting_engine")
        yield more
    for case in (small, large):
        slow = replace(case, group="latency", rate=trickle)
        yield slow
        yield replace(slow, name="pipeline, fastest", **FASTEST)  # type: ignore[arg-type]
        yield replace(slow, name=NAIVE, kind="loop", program="naive")
    yield replace(_without_model(small, "pipeline, null engine", "benchmarks.engines:null_engine"), group="memory")
