"""Is each way of tampering with an audit named, and is nothing named in one that is as it was written?"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import polars as pl
import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

from consumer.audit.columns import OUTCOMES_SCHEMA
from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.audit.manifest import File, Manifest, Signer, begun, extended, read_manifest, to_json
from consumer.audit.names import Folder, file_name, first_offset_of, read_path
from consumer.audit.parquet import Extent, to_parquet
from consumer.audit.scrutiny import Trust
from consumer.audit.verify import Asked
from consumer.audit.verify import verify as look
from consumer.commands.audit_verify import verify
from tests.rigs.audit_rows import DEAD_LETTERS, JOBS, RESULTS, START, write_audit

SIGNER, OTHER = (Signer(Ed25519PrivateKey.from_private_bytes(seed * 32)) for seed in (b"a", b"b"))
MIDDLE = f"topic={RESULTS}/date=2026-03-02/partition=0"  # 8 entries of 18 rows; days before and after it
LAST = f"topic={RESULTS}/date=2026-03-03/partition=1"
app = typer.Typer()
app.command("verify")(verify)


pytestmark = pytest.mark.thorough


@app.callback()
def nothing() -> None:
    """Else Typer would make the only command the whole app."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of two partitions, signed."""
    folder = tmp_path_factory.mktemp("written")
    step = timedelta(minutes=10)
    write_audit(folder, jobs=384, step=step, per_file=18, dead_every=48, signer=SIGNER, start=START.replace(hour=0))
    return folder


@pytest.fixture
def audit(written: Path, tmp_path: Path) -> Path:
    """A copy to be tampered with."""
    return Path(shutil.copytree(written, tmp_path / "audit"))


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUMER_SETTINGS", raising=False)
    monkeypatch.setenv("COLUMNS", "300")


def run(audit: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", "--from", str(audit), *arguments])


def found(audit: Path, *arguments: str, key: Signer | None = SIGNER) -> list[tuple[str, str]]:
    """Kind and path of each finding; the exit code says the same."""
    keys = ["--public-key", key.public_key] if key else []
    result = run(audit, "--json", *keys, *arguments)
    findings = json.loads(result.stdout)["findings"]
    assert result.exit_code == (1 if findings else 0), result.stderr
    return [(one["kind"], one["path"]) for one in findings]


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def manifest_of(folder: Path) -> Manifest:
    return read_manifest((folder / "_manifest.json").read_bytes())


def rewrite(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    (folder / "_manifest.json").write_bytes(to_json(change(manifest_of(folder))))


def rebuilt(manifest: Manifest, files: list[File], signer: Signer | None = None) -> Manifest:
    """With a chain and a signature that fit: what somebody does who knows how."""
    at = read_path(f"topic={manifest.topic}/date={manifest.date}/partition={manifest.partition}/_manifest.json")
    assert at is not None
    new = msgspec.structs.replace(begun(at[0], after=None), previous=manifest.previous)
    for file in files:
        new = extended(new, file, signer)
    return new


def with_entries(manifest: Manifest, order: list[int]) -> Manifest:
    return msgspec.structs.replace(manifest, files=tuple(manifest.files[number] for number in order))


# --- nothing is wrong ---------------------------------------------------------------------------------------------


def test_nothing_is_found_in_an_audit_that_is_as_it_was_written(audit: Path) -> None:
    result = run(audit, "--public-key", SIGNER.public_key)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"{audit}: 94 files (")
    assert "1,536 rows) read, 18 manifests (18 signed) held together, 0 findings" in result.stdout
    assert result.stderr.startswith("note: no --heads were given")


def test_the_newest_file_that_no_manifest_has_yet_is_pending_and_no_finding(audit: Path) -> None:
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))

    result = run(audit, "--json", "--public-key", SIGNER.public_key)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["pending"] == [f"{LAST}/{files_of(audit / LAST)[-1].name}"]


def test_the_only_file_of_an_auditor_that_has_just_begun_is_pending(audit: Path) -> None:
    for topic in (RESULTS, DEAD_LETTERS):
        shutil.rmtree(audit / f"topic={topic}")
    first = files_of(audit / f"topic={JOBS}/date=2026-03-01/partition=0")[0]
    kept = first.read_bytes()
    shutil.rmtree(audit / f"topic={JOBS}")
    first.parent.mkdir(parents=True)
    first.write_bytes(kept)

    assert found(audit) == []


def test_files_whose_times_fall_back_behind_midnight_are_no_finding(audit: Path) -> None:
    """The auditor puts them into the folder of their day, whose manifest grows once more."""
    middle, last = audit / MIDDLE, audit / LAST.replace("partition=1", "partition=0")
    late = manifest_of(last).files[-1].file
    first, second = (files_of(middle)[0], last / late.name)
    moved = middle / second.name
    shutil.move(second, moved)
    rewrite(last, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    rewrite(middle, lambda manifest: extended(manifest, late, SIGNER))
    assert first.exists()

    assert found(audit) == []

    heads = audit.parent / "heads.json"
    assert found(audit, "--write-heads", str(heads)) == []
    rewrite(middle, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    moved.unlink()
    assert found(audit, "--heads", str(heads)) == [("truncated_tail", f"{MIDDLE}/_manifest.json")]


# --- files --------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_named_whether_its_size_changed_or_not(audit: Path) -> None:
    one, two = files_of(audit / MIDDLE)[2:4]
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content)
    two.write_bytes(two.read_bytes() + b"\n")

    assert found(audit) == [("changed_file", f"{MIDDLE}/{one.name}"), ("changed_file", f"{MIDDLE}/{two.name}")]


def test_a_removed_file_is_named(audit: Path) -> None:
    gone = files_of(audit / MIDDLE)[2]
    gone.unlink()

    assert found(audit) == [("removed_file", f"{MIDDLE}/{gone.name}")]


def test_a_file_that_was_exchanged_for_another_one_is_named(audit: Path) -> None:
    one, two = files_of(audit / MIDDLE)[2:4]
    one.write_bytes(two.read_bytes())

    assert ("changed_file", f"{MIDDLE}/{one.name}") in found(audit)


@pytest.mark.parametrize(
    "name",
    [
        f"{MIDDLE}/{RESULTS}+0+00000000000000000171.parquet",
        f"{MIDDLE}/forged.parquet",
        f"topic={RESULTS}/date=2026-03-02/partition=00/{RESULTS}+0+00000000000000000171.parquet",
        f"topic={RESULTS}/date=2026-03-02/forged.parquet",
        f"topic={RESULTS}/date=2026-03-09/partition=0/{RESULTS}+0+00000000000000009171.parquet",
    ],
    ids=["a name of ours", "another name", "a second folder of the partition", "no partition", "another day"],
)
def test_an_added_file_is_named(audit: Path, name: str) -> None:
    (audit / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(files_of(audit / MIDDLE)[2], audit / name)

    assert found(audit) == [("added_file", name)]


def test_a_folder_that_is_no_day_is_named(audit: Path) -> None:
    forged = audit / f"topic={RESULTS}/date=2026-03-02x/partition=0"
    forged.mkdir(parents=True)
    shutil.copy(files_of(audit / MIDDLE)[2], forged / "forged.parquet")

    assert found(audit) == [("added_file", f"topic={RESULTS}/date=2026-03-02x")]


def test_two_files_behind_the_end_are_not_both_pending(audit: Path) -> None:
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-2]], SIGNER))
    ahead = files_of(audit / LAST)[-1]

    assert found(audit) == [("added_file", f"{LAST}/{ahead.name}")]


def test_of_two_files_that_go_on_from_the_end_none_is_taken_for_the_auditors(audit: Path) -> None:
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    last = files_of(audit / LAST)[-1]
    twin = last.with_name(named_from(last, 1))
    shutil.copy(last, twin)

    assert found(audit) == [("added_file", f"{LAST}/{last.name}"), ("added_file", f"{LAST}/{twin.name}")]


def test_a_file_behind_the_end_that_is_not_what_its_name_says_is_not_pending(audit: Path) -> None:
    manifest = manifest_of(audit / LAST)
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    last = files_of(audit / LAST)[-1]
    true = last.read_bytes()
    last.write_bytes(b"PAR1 it is none")
    assert found(audit) == [("added_file", f"{LAST}/{last.name}")]
    last.write_bytes(to_parquet(pl.DataFrame(), a_tail(manifest, partition=0), writer="somebody"))
    assert found(audit) == [("added_file", f"{LAST}/{last.name}")]
    last.unlink()
    for name in (named_from(last, 100), "forged.parquet"):
        (audit / LAST / name).write_bytes(true)
        assert found(audit) == [("added_file", f"{LAST}/{name}")]
        (audit / LAST / name).unlink()


def test_a_first_file_with_the_name_of_none_is_not_pending(tmp_path: Path) -> None:
    folder = tmp_path / f"topic={RESULTS}/date=2026-03-01/partition=0"
    folder.mkdir(parents=True)
    extent = Extent(OUTCOMES_SCHEMA, RESULTS, 0, 0, 9, 0)
    (folder / "forged.parquet").write_bytes(to_parquet(pl.DataFrame(), extent, writer="somebody"))

    assert found(tmp_path, key=None) == [("added_file", f"{folder.relative_to(tmp_path)}/forged.parquet")]


def named_from(file: Path, more: int) -> str:
    first = first_offset_of(file.name)
    assert first is not None
    return file_name(RESULTS, 1, first + more)


def a_tail(manifest: Manifest, *, topic: str = RESULTS, partition: int = 1) -> Extent:
    """What the last file of a manifest says that it covers; or what it would say if it were of another partition."""
    last = manifest.files[-1]
    return Extent(OUTCOMES_SCHEMA, topic, partition, last.begin, last.end, last.rows)


def test_a_file_that_came_while_its_folder_was_listed_is_not_gone(audit: Path) -> None:
    """The auditor goes on meanwhile: the manifest, read later, has it."""

    class Earlier(FolderShelf):
        def objects(self, path: str) -> Iterator[tuple[str, int]]:
            return (one for one in super().objects(path) if not one[0].endswith(files_of(audit / LAST)[-1].name))

    assert look(Library(Earlier(audit)), Asked((RESULTS,))).findings == []


def test_no_byte_can_be_changed_unnoticed(audit: Path) -> None:
    """But white space in a manifest, which says nothing."""
    library, asked = Library(FolderShelf(audit)), Asked((DEAD_LETTERS,), trust=Trust((SIGNER.public_key,)))
    objects = sorted((audit / f"topic={DEAD_LETTERS}").rglob("*.*"))
    random = Random(7)
    assert look(library, asked).findings == []

    for _ in range(60):
        file = random.choice(objects)
        content = file.read_bytes()
        at = random.choice([number for number, byte in enumerate(content) if byte not in b" \n"])
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << random.randrange(7)]) + content[at + 1 :])
        assert look(library, asked).findings, (file, at)
        file.write_bytes(content)


# --- manifests ----------------------------------------------------------------------------------------------------


def test_reordered_entries_are_named(audit: Path) -> None:
    rewrite(audit / MIDDLE, lambda manifest: with_entries(manifest, [0, 2, 1, 3, 4, 5, 6, 7]))

    assert found(audit, key=None)[0] == ("reordered_entries", f"{MIDDLE}/_manifest.json")


def test_a_doubled_entry_is_named(audit: Path) -> None:
    rewrite(audit / MIDDLE, lambda manifest: with_entries(manifest, [0, 1, 1, 2, 3, 4, 5, 6, 7]))

    assert ("doubled_entry", f"{MIDDLE}/_manifest.json") in found(audit, key=None)


def test_an_entry_that_was_taken_out_with_its_file_is_named_with_its_offsets(audit: Path) -> None:
    gone = manifest_of(audit / MIDDLE).files[2]
    rewrite(audit / MIDDLE, lambda manifest: with_entries(manifest, [0, 1, 3, 4, 5, 6, 7]))
    (audit / MIDDLE / gone.name).unlink()

    result = run(audit)

    assert result.exit_code == 1
    assert f"the entries for offsets {gone.begin} to {gone.end} are gone" in result.stdout
    assert sorted(kind for kind, _ in found(audit)) == ["altered_manifest", "gap", "wrong_signature"]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: msgspec.structs.replace(m, files=(msgspec.structs.replace(m.files[0], rows=17), *m.files[1:])),
        lambda m: msgspec.structs.replace(m, previous=None),
        lambda m: msgspec.structs.replace(m, topic="another"),
        lambda m: msgspec.structs.replace(m, date="2026-03-01"),
    ],
    ids=["a number of rows", "what it goes on from", "the topic", "the day"],
)
def test_an_altered_manifest_is_named_without_any_key(audit: Path, change: Callable[[Manifest], Manifest]) -> None:
    rewrite(audit / MIDDLE, lambda manifest: msgspec.structs.replace(change(manifest), signature=None))

    assert ("altered_manifest", f"{MIDDLE}/_manifest.json") in found(audit, key=None)


def test_a_manifest_that_is_none_is_named_once(audit: Path) -> None:
    (audit / MIDDLE / "_manifest.json").write_bytes(b"{}")

    kinds = [finding for finding in found(audit) if finding[1].endswith(".json")]

    assert kinds == [("altered_manifest", f"{MIDDLE}/_manifest.json")]


def test_a_manifest_that_was_emptied_does_not_fit_the_next_day(audit: Path) -> None:
    rewrite(audit / MIDDLE, lambda manifest: rebuilt(manifest, [], None))

    kinds = found(audit, key=None)

    assert ("broken_link", f"{MIDDLE.replace('03-02', '03-03')}/_manifest.json") in kinds
    assert [kind for kind, _ in kinds].count("added_file") == 8


def test_a_removed_manifest_is_named_by_the_day_after_it(audit: Path) -> None:
    (audit / MIDDLE / "_manifest.json").unlink()

    assert sorted(kind for kind, _ in found(audit)) == ["gap", "removed_manifest"]
    assert ("removed_manifest", f"{MIDDLE}/_manifest.json") in found(audit)


def test_a_removed_manifest_of_the_last_day_is_named_by_its_files(audit: Path) -> None:
    (audit / LAST / "_manifest.json").unlink()

    assert found(audit) == [("removed_manifest", f"{LAST}/_manifest.json")]


def test_a_day_that_was_removed_altogether_is_named(audit: Path) -> None:
    shutil.rmtree(audit / MIDDLE)

    assert ("removed_manifest", f"{MIDDLE}/_manifest.json") in found(audit)


def test_the_first_days_may_have_expired_where_the_question_begins_later(audit: Path) -> None:
    for first in audit.glob("topic=*/date=2026-03-01"):
        shutil.rmtree(first)

    assert {kind for kind, _ in found(audit)} == {"removed_manifest"}
    assert found(audit, "--since", "2026-03-02") == []
    assert {kind for kind, _ in found(audit, "--since", "2026-03-01T23:00")} == {"removed_manifest"}


def test_a_day_that_was_written_anew_by_somebody_who_knows_how_does_not_fit_the_next(audit: Path) -> None:
    """Unsigned: an entry and its file are gone, and the chain was computed again."""
    gone = manifest_of(audit / MIDDLE).files[-1]
    rewrite(audit / MIDDLE, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]]))
    (audit / MIDDLE / gone.name).unlink()
    after = MIDDLE.replace("03-02", "03-03")

    kinds = found(audit, key=None)

    assert ("broken_link", f"{after}/_manifest.json") in kinds
    assert "gap" in [kind for kind, _ in kinds]


def test_a_partition_that_begins_anew_is_named(audit: Path) -> None:
    """With the rest of its chain computed again, so that every link holds."""
    previous: Manifest | None = None
    for day in ("2026-03-02", "2026-03-03"):
        folder = audit / f"topic={RESULTS}/date={day}/partition=0"
        new = begun(Folder(RESULTS, START.date().replace(day=int(day[-1])), 0), after=previous)
        for entry in manifest_of(folder).files:
            new = extended(new, entry.file, None)
        (folder / "_manifest.json").write_bytes(to_json(new))
        previous = new

    assert found(audit, key=None) == [("broken_link", f"{MIDDLE}/_manifest.json")]


@pytest.mark.parametrize("lie", ["end", "partition", "name"])
def test_entries_that_lie_about_their_files_are_named(audit: Path, lie: str) -> None:
    """With a chain that holds, and a signature: the file itself says what it is."""
    manifest = manifest_of(audit / LAST)
    *others, last = (entry.file for entry in manifest.files)
    file = audit / LAST / last.name
    if lie == "end":
        last = msgspec.structs.replace(last, end=last.end + 1)
    elif lie == "partition":
        content = to_parquet(pl.DataFrame(), a_tail(manifest, partition=0), writer="somebody")
        file.write_bytes(content)
        last = msgspec.structs.replace(last, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    else:
        last = msgspec.structs.replace(last, name=named_from(file, 100))
        file.rename(file.with_name(last.name))
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [*others, last], SIGNER))

    assert found(audit) == [("altered_manifest", f"{LAST}/_manifest.json")]


def test_offsets_that_two_files_cover_are_named(audit: Path) -> None:
    rewrite(
        audit / LAST,
        lambda manifest: rebuilt(manifest, [*(e.file for e in manifest.files), manifest.files[-1].file], SIGNER),
    )

    assert [kind for kind, _ in found(audit)] == ["overlap"]


# --- signatures ---------------------------------------------------------------------------------------------------


def resigned(manifest: Manifest, signer: Signer | None) -> Manifest:
    return rebuilt(manifest, [entry.file for entry in manifest.files], signer)


def test_a_manifest_signed_by_another_key_is_named_where_the_right_one_is_known(audit: Path) -> None:
    rewrite(audit / LAST, lambda manifest: resigned(manifest, OTHER))

    assert found(audit) == [("another_key", f"{LAST}/_manifest.json")]
    assert found(audit, key=None) == []
    assert found(audit, "--public-key", OTHER.public_key) == []  # keys may change: both are ours
    assert OTHER.public_key in run(audit).stderr


def test_a_wrong_signature_is_named_with_the_right_key_and_without_one(audit: Path) -> None:
    signature = manifest_of(audit / MIDDLE).signature
    rewrite(audit / LAST, lambda manifest: msgspec.structs.replace(manifest, signature=signature))

    assert found(audit) == [("wrong_signature", f"{LAST}/_manifest.json")]
    assert found(audit, key=None) == [("wrong_signature", f"{LAST}/_manifest.json")]


def test_a_signature_of_another_key_that_names_ours_is_wrong(audit: Path) -> None:
    def forged(manifest: Manifest) -> Manifest:
        signature = resigned(manifest, OTHER).signature
        assert signature is not None
        named = msgspec.structs.replace(signature, public_key=SIGNER.public_key)
        return msgspec.structs.replace(manifest, signature=named)

    rewrite(audit / LAST, forged)

    assert found(audit) == [("wrong_signature", f"{LAST}/_manifest.json")]


def test_a_key_that_is_none_in_a_manifest_is_a_wrong_signature(audit: Path) -> None:
    def broken(manifest: Manifest) -> Manifest:
        assert manifest.signature is not None
        return msgspec.structs.replace(
            manifest, signature=msgspec.structs.replace(manifest.signature, public_key="a key")
        )

    rewrite(audit / LAST, broken)

    assert found(audit, key=None) == [("wrong_signature", f"{LAST}/_manifest.json")]


def test_a_missing_signature_is_named_where_one_is_asked_for(audit: Path) -> None:
    rewrite(audit / LAST, lambda manifest: resigned(manifest, None))

    assert found(audit) == [("unsigned", f"{LAST}/_manifest.json")]
    assert found(audit, "--require-signature", key=None) == [("unsigned", f"{LAST}/_manifest.json")]
    assert found(audit, key=None) == []
    assert "1 of 18 manifests are not signed" in run(audit).stderr


def test_the_key_comes_from_a_file_or_the_settings(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = audit.parent / "audit.pub"
    public = SIGNER.key.public_key()
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    rewrite(audit / LAST, lambda manifest: resigned(manifest, OTHER))

    assert found(audit, "--public-key", str(pem), key=None) == [("another_key", f"{LAST}/_manifest.json")]
    monkeypatch.setenv("CONSUMER__AUDIT__PUBLIC_KEY", SIGNER.public_key)
    assert found(audit, key=None) == [("another_key", f"{LAST}/_manifest.json")]


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_rollback_to_an_older_signed_state_is_seen_by_heads_that_were_kept_apart(audit: Path) -> None:
    older = (audit / LAST / "_manifest.json").read_bytes()
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    older, newer = (audit / LAST / "_manifest.json").read_bytes(), older
    (audit / LAST / "_manifest.json").write_bytes(newer)
    heads = str(audit.parent / "heads.json")
    assert found(audit, "--write-heads", heads) == []
    (audit / LAST / "_manifest.json").write_bytes(older)
    files_of(audit / LAST)[-1].unlink()

    assert found(audit) == []  # it cannot be seen, and that is said:
    assert "cannot be seen" in run(audit).stderr
    assert found(audit, "--heads", heads) == [("truncated_tail", f"{LAST}/_manifest.json")]


def test_last_days_and_whole_topics_that_are_gone_are_seen_by_heads(audit: Path) -> None:
    heads = str(audit.parent / "heads.json")
    assert found(audit, "--write-heads", heads) == []
    shutil.rmtree(audit / f"topic={DEAD_LETTERS}")
    shutil.rmtree(audit / LAST)

    assert found(audit) == []
    kinds = found(audit, "--heads", heads)
    assert ("truncated_tail", f"{LAST}/_manifest.json") in kinds
    assert sum(f"topic={DEAD_LETTERS}/" in path for _, path in kinds) == 2


def test_what_was_written_since_is_no_finding_and_other_topics_keep_their_heads(audit: Path) -> None:
    heads = audit.parent / "heads.json"
    whole = (audit / LAST / "_manifest.json").read_bytes()
    rewrite(audit / LAST, lambda manifest: rebuilt(manifest, [e.file for e in manifest.files[:-1]], SIGNER))
    assert found(audit, "--write-heads", str(heads)) == []
    (audit / LAST / "_manifest.json").write_bytes(whole)

    assert found(audit, "--heads", str(heads), "--write-heads", str(heads), "--topic", RESULTS) == []

    kept = {(one["topic"], one["partition"]): one for one in json.loads(heads.read_bytes())["heads"]}
    assert len(kept) == 6
    assert kept[RESULTS, 1]["end"] == manifest_of(audit / LAST).end


def test_heads_are_not_written_over_what_was_found(audit: Path) -> None:
    heads = audit.parent / "heads.json"
    files_of(audit / MIDDLE)[2].unlink()

    result = run(audit, "--write-heads", str(heads))

    assert result.exit_code == 1
    assert f"error: 1 finding: {audit} is not as written; {heads} was not written" in result.stderr
    assert not heads.exists()


# --- what is asked for --------------------------------------------------------------------------------------------


def test_files_are_read_of_the_days_that_are_asked_for_and_manifests_of_all(audit: Path) -> None:
    first = audit / MIDDLE.replace("03-02", "03-01")
    files_of(first)[0].write_bytes(b"")
    assert found(audit, "--since", "2026-03-03") == []
    assert found(audit, "--until", "2026-03-01T12:00") == [
        ("changed_file", f"{first.relative_to(audit)}/{files_of(first)[0].name}")
    ]

    rewrite(first, lambda manifest: with_entries(manifest, [1, 0]))
    assert ("reordered_entries", f"{first.relative_to(audit)}/_manifest.json") in found(audit, "--since", "2026-03-03")


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--topic", "another"], "--topic: audit {audit} has no another, but inspection.dead-letters, "),
        (["--public-key", "abc"], "--public-key: no file, and no Ed25519 public key: "),
        (["--public-key", "/nowhere/audit.pub"], "--public-key: no file, and no Ed25519 public key: "),
        (["--heads", "/nowhere/heads.json"], "--heads: /nowhere/heads.json cannot be read: "),
        (["--since", "yesterday"], "--since: 'yesterday' is no time"),
    ],
)
def test_a_wrong_argument_is_named_and_2(audit: Path, arguments: list[str], fact: str) -> None:
    result = run(audit, *arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {fact.format(audit=audit)}")


def test_an_empty_audit_is_2(tmp_path: Path) -> None:
    result = run(tmp_path)

    assert result.exit_code == 2
    assert result.stderr == f"error: audit {tmp_path} holds no topic\n"


def test_json_says_all_that_the_text_says(audit: Path) -> None:
    told: dict[str, Any] = json.loads(run(audit, "--json").stdout)

    assert told.keys() == {"findings", "pending", "manifests", "signed", "files", "rows", "bytes", "notes"}
    assert told["bytes"] == sum(file.stat().st_size for file in audit.rglob("*.parquet"))
