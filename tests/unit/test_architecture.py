"""Do imports go one way, and does each library have one door? This is the table of who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "consumer"
MODULES = sorted(PACKAGE.rglob("*.py"))

WIRE = {"errors", "messages", "settings"}
ROOMS = {"audit", "demo", "detection", "images", "kafka"}
MECHANISMS = {"admission", "batcher", "budget", "custody", "guard", "intake", "ledger"}
FOR_ROOMS = WIRE | {"metrics", "retry", "cores", "batcher"}
# What a command does that takes more than one room: folders by what a person wants, and what they share.
ERRANDS = {"auditing", "checkup", "planning", "publishing", "showcase", "spotcheck", "watching", "weighing"}
FOR_ERRANDS = (
    WIRE
    | ROOMS
    | {"cgroup", "cores", "gallery", "intake", "leash", "metrics", "outcomes", "parsing", "retry", "writing"}
)

# A part is a folder or a file of consumer/; one without a row here is an error.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"commands"},
    "commands": FOR_ERRANDS | ERRANDS | {"app", "logs", "origins", "settings_schema", "versions"},
    "app": WIRE
    | ROOMS
    | MECHANISMS
    | {"cores", "health", "inspector", "metrics", "process", "runner", "station", "tracing", "watchdog"},
    "station": WIRE | {"batcher", "canary", "cores", "detection", "images", "inspector", "metrics"},
    "tracing": WIRE | {"inspector", "ledger", "spans"},
    "spans": WIRE | {"inspector", "ledger"},
    "runner": WIRE | MECHANISMS - {"batcher"} | {"health", "inspector", "metrics", "tracing"},
    "canary": {"batcher", "detection", "errors"},
    "watchdog": {"canary", "errors", "inspector"},
    "inspector": WIRE
    | {"batcher", "budget", "canary", "detection", "images", "metrics", "retry"},  # the flow names its stations
    "health": WIRE,
    "process": WIRE | {"health", "retry"},
    "logs": {"errors", "settings"},
    "schemas": WIRE | {"settings_schema"},
    "settings_schema": {"settings"},
    "origins": {"settings"},
    "versions": WIRE | {"detection", "kafka"},
    "outcomes": WIRE,
    "intake": WIRE | {"events", "parsing", "seaweedfs"},
    "events": WIRE | {"parsing"},
    "seaweedfs": WIRE | {"events"},
    "parsing": {"errors"},
    "probe": set(),  # it runs every few seconds beside the consumer
    "gallery": WIRE | {"writing"},
    "guard": WIRE,
    "batcher": {"errors"},
    "admission": set(),
    "cgroup": set(),
    "cores": {"cgroup"},
    "budget": set(),
    "custody": {"errors", "ledger"},
    "ledger": set(),
    "retry": {"errors", "metrics"},
    "metrics": set(),
    "settings": {"errors"},
    "messages": {"errors"},
    "errors": set(),
    "leash": set(),
    "writing": set(),
    **dict.fromkeys(ERRANDS, FOR_ERRANDS),
    "showcase": FOR_ERRANDS | {"auditing", "publishing"},  # the demo publishes and audits as anybody does
    "watching": FOR_ERRANDS | {"publishing"},  # and so does a redrive
    "spotcheck": FOR_ERRANDS | {"inspector", "station"},
    "planning": FOR_ERRANDS | {"checkup"},  # it counts memory as the doctor does
    **dict.fromkeys(ROOMS, FOR_ROOMS),
    "demo": FOR_ROOMS | {"leash"},  # its servers and consumers are processes
    "audit": FOR_ROOMS | {"gallery", "intake", "outcomes", "writing"},  # its rows are what the latter two read
    "auditing": FOR_ERRANDS | {"health", "process", "publishing"},
    "kafka": FOR_ROOMS | {"custody", "ledger"},  # what it delivers is the ledger's entries
}

# Which part may import a library; the others are open to all.
IMAGES, DETECTION = frozenset({"images"}), frozenset({"detection"})
DOORS: dict[str, frozenset[str]] = {
    "confluent_kafka": frozenset({"kafka"}),
    **dict.fromkeys(("obstore", "boto3", "botocore", "PIL"), IMAGES),
    **dict.fromkeys(
        ("torch", "torchvision", "ultralytics", "openvino", "onnx", "onnxruntime", "tensorrt", "nncf"), DETECTION
    ),
    "opentelemetry": frozenset({"spans"}),
    "cryptography": frozenset({"audit"}),
    "polars": frozenset({"audit", "commands"}),  # commands name its errors, and the type of its rows
    "cv2": IMAGES | DETECTION | {"demo"},
}

# Seconds to import, and absent from the light installation.
LAZY = {
    "cryptography",
    "nncf",
    "onnx",
    "onnxruntime",
    "opentelemetry",
    "polars",
    "tensorrt",
    "torch",
    "torchvision",
    "ultralytics",
}
BEHIND_AN_EXTRA = {"audit", "auditing"}  # whole parts that only their commands import, when they are called


def test_every_part_has_a_row_in_the_table() -> None:
    assert {part_of(module) for module in MODULES} - MAY_IMPORT.keys() == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_the_table_allows(module: Path) -> None:
    assert violations(part_of(module), module.read_text()) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("kafka", "from consumer.runner import Runner"),
        ("kafka", "import consumer.images.store"),
        ("images", "from consumer import inspector"),
        ("detection", "from ..kafka import source"),
        ("runner", "def run():\n    from consumer.kafka.source import Source"),
        ("runner", "import confluent_kafka.admin"),
        ("app", "from obstore.store import S3Store"),
        ("kafka", "import cv2"),
        ("demo", "def train():\n    import ultralytics"),
        ("images", "import importlib\nimportlib.import_module('torch')"),
        ("commands", "from consumer.runner import Runner"),
        ("app", "from consumer.commands import run"),
        ("ledger", "from consumer.messages import Job"),
    ],
)
def test_the_table_refuses(part: str, source: str) -> None:
    assert len(violations(part, source)) == 1


def test_importing_the_package_loads_neither_torch_nor_ultralytics() -> None:
    """Only a module that is itself imported lazily may import them at its top; all others are imported here."""
    eager = [
        name_of(module)
        for module in MODULES
        if not LAZY & set(top_level_imports(module)) and not is_main(module) and part_of(module) not in BEHIND_AN_EXTRA
    ]
    program = f"import importlib, sys\nfor name in {eager!r}: importlib.import_module(name)\nprint(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert LAZY & set(done.stdout.split()) == set()


def violations(part: str, source: str) -> list[str]:
    """Return the imports, anywhere in a source text, that a part may not make."""
    return [name for name in imported_names(ast.parse(source)) if not is_allowed(part, name)]


def is_allowed(part: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    if top == "consumer":
        wanted = rest.partition(".")[0]
        return wanted in {"", "__version__", part} or wanted in MAY_IMPORT[part]
    return part in DOORS.get(top, {part})


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported, with dots: of `from a import b`, `a.b` where a is the package itself, else `a`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module="consumer", names=names, level=0):
                yield from (f"consumer.{alias.name}" for alias in names)
            case ast.ImportFrom(module=module, level=0):
                yield str(module)
            case ast.ImportFrom():
                yield "consumer.<relative import>"
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


def top_level_imports(module: Path) -> Iterator[str]:
    """Yield the libraries that are imported with the module, not those of functions and of TYPE_CHECKING."""
    for statement in ast.parse(module.read_text()).body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
            yield from (name.partition(".")[0] for name in imported_names(statement))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_main(module: Path) -> bool:
    """Say whether importing it would run a program."""
    return module.stem == "__main__"
