"""Are the locked requirements the same for everybody, wherever they were locked?"""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ \\]+)", lock.read_text(), flags=re.MULTILINE))


def test_there_are_lock_files_for_each_way_of_installing() -> None:
    assert [lock.stem for lock in LOCKS] == ["all", "auditor", "build", "cuda", "demo", "light", "uv"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_names_no_index_and_no_folder(lock: Path) -> None:
    for line in lock.read_text().splitlines():
        assert re.match("[a-z0-9 ]", line), line  # an option of pip starts with a dash, a header with a hash
        assert "/" not in line.replace("requirements/all.txt", ""), line


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_requirement_is_pinned_with_hashes(lock: Path) -> None:
    requirements = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]

    assert requirements
    assert [text.split()[0] for text in requirements if "--hash=sha256:" not in text] == []


def test_the_light_installation_is_a_part_of_the_demo_and_that_of_the_whole_one() -> None:
    light, demo, everything = (pins(REQUIREMENTS / f"{name}.txt").items() for name in ("light", "demo", "all"))

    assert light < demo < everything


@pytest.mark.parametrize("name", ["light", "demo", "auditor"])
def test_the_light_installations_have_nothing_of_torch_or_ultralytics(name: str) -> None:
    assert [pin for pin in pins(REQUIREMENTS / f"{name}.txt") if re.match("torch|ultralytics|nvidia", pin)] == []


def test_the_images_have_what_was_tested() -> None:
    everything = pins(REQUIREMENTS / "all.txt").items()

    assert [
        name for name in ("auditor", "build", "cuda") if not pins(REQUIREMENTS / f"{name}.txt").items() < everything
    ] == []
