"""Is the image what docs/containers.md says: small, confined, without secrets, weights or tools to build with?"""

import json
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.containers.engine import attempt, run
from tests.containers.images import SECRET, Images
from tests.rigs.kafka_jars import ROOT

pytestmark = pytest.mark.containers

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
MEGABYTE = 1_000_000
WEIGHTS = ROOT / "consumer" / "demo" / "weights"


def hardened(docker: str, *arguments: str) -> list[str]:
    return [docker, "run", "--rm", "--pull", "never", *HARDENED, *arguments]


def python(docker: str, image: str, program: str, *options: str) -> str:
    return run(hardened(docker, *options, "--entrypoint", "python", image, "-c", program)).strip()


def configuration(docker: str, image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run([docker, "image", "inspect", "--format", "{{json .Config}}", image]))
    return found


def test_the_cpu_image_adds_at_most_600_megabytes_to_its_base(docker: str, images: Images) -> None:
    sizes = {
        image: int(run([docker, "image", "inspect", "--format", "{{.Size}}", image]))
        for image in (images.base, images.cpu, images.auditor)
    }
    print({image: size // MEGABYTE for image, size in sizes.items()})  # noqa: T201  # docs/containers.md quotes it

    assert sizes[images.cpu] - sizes[images.base] <= 600 * MEGABYTE


def test_an_image_says_what_it_is_and_runs_as_nobody_that_the_host_knows(docker: str, images: Images) -> None:
    config = configuration(docker, images.cpu)
    labels = config["Labels"]
    assert isinstance(labels, dict)

    assert config["User"] == "10001:10001"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == version("inspection-consumer")


def test_confined_it_has_no_capabilities_and_writes_to_tmp_alone(docker: str, images: Images) -> None:
    status = python(docker, images.cpu, "print(open('/proc/self/status').read())")
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert values["Uid"].split() == ["10001"] * 4
    assert {values[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert values["NoNewPrivs"] == "1"
    program = (
        "import os;"
        "print([f for f in ('/', '/opt/consumer', '/etc', '/var', '/tmp') if os.access(f, os.W_OK)],"
        " bool(os.statvfs('/').f_flag & os.ST_RDONLY))"
    )
    assert python(docker, images.cpu, program) == "['/tmp'] True"


def test_it_needs_no_shell(docker: str, images: Images) -> None:
    masks = [f"--volume=/dev/null:/usr/bin/{shell}:ro" for shell in ("bash", "dash")]
    config = configuration(docker, images.cpu)
    health = config["Healthcheck"]
    assert isinstance(health, dict)

    assert "openvino" in run(hardened(docker, *masks, images.cpu, "--version"))
    assert attempt(hardened(docker, *masks, "--entrypoint", "sh", images.cpu, "-c", "true")).returncode != 0
    assert config["Entrypoint"] == ["consumer"]
    assert health["Test"][0] == "CMD"  # CMD-SHELL would want one


def test_there_is_nothing_in_it_that_is_not_needed(docker: str, images: Images) -> None:
    program = (
        "import os, shutil, importlib.util as u;"
        "print([n for n in ('pip', 'setuptools', 'torch', 'ultralytics') if u.find_spec(n)],"
        " [n for n in ('gcc', 'cc', 'make', 'pip', 'uv') if shutil.which(n)],"
        " [f for p, _, fs in os.walk('/opt/consumer') for f in fs if f.endswith(('.pt', '.onnx'))],"
        " os.path.exists('/root/.cache'))"
    )

    assert python(docker, images.cpu, program) == "[] [] [] False"


def test_no_layer_has_the_secret_that_the_build_was_given(docker: str, images: Images, tmp_path: Path) -> None:
    saved = tmp_path / "image.tar"
    run([docker, "save", "--output", str(saved), images.cpu, images.auditor], within=300)

    with tarfile.open(saved) as outer:
        layers = [member for member in outer.getmembers() if member.isfile()]
        assert len(layers) > 4
        assert [layer.name for layer in layers if has(outer, layer, SECRET.encode())] == []
    assert SECRET not in run([docker, "history", "--no-trunc", images.auditor])


def has(archive: tarfile.TarFile, member: tarfile.TarInfo, needle: bytes) -> bool:
    """Layers of `docker save` are tar files, not packed: what is in them can be looked for."""
    opened = archive.extractfile(member)
    assert opened is not None
    before = b""
    while chunk := opened.read(1 << 22):
        if needle in before + chunk:
            return True
        before = chunk[-len(needle) :]
    return False


@pytest.mark.parametrize(("memory", "cpus"), [(268_435_456, "1"), (536_870_912, "2")])
def test_the_limits_of_the_container_are_seen(docker: str, images: Images, memory: int, cpus: str) -> None:
    program = (
        "from consumer.checkup.memory import memory_limit;"
        "from consumer.cores import available_cores;"
        "print(memory_limit(), available_cores())"
    )

    assert python(docker, images.cpu, program, f"--memory={memory}", f"--cpus={cpus}") == f"{memory} {cpus}"


def test_without_settings_it_ends_with_2_and_without_a_broker_with_3(docker: str, images: Images) -> None:
    variables = {
        "CONSUMER__MODEL__WEIGHTS": "/models/parts-yolo26n.onnx",
        "CONSUMER__IMAGES__ALLOWED_BUCKETS": '["parts"]',
        "CONSUMER__KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "CONSUMER__LIMITS__STARTUP_TIMEOUT": "1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }
    given = [f"--env={name}={value}" for name, value in variables.items()]

    assert attempt(hardened(docker, images.cpu)).returncode == 2
    assert attempt(hardened(docker, f"--volume={WEIGHTS}:/models:ro", *given, images.cpu)).returncode == 3
