"""Does a whole line work with the rights that docs/security.md grants, and does it need each of them?"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.acls import Acl, commands_of
from tests.rigs.forked import run_forked
from tests.rigs.jobs import job, picture, settings_for
from tests.rigs.kafka_secured import USERS, SecuredKafka
from tests.rigs.outcomes import OutcomeReader
from tests.rigs.s3_guarded import GuardedS3, Statement, open_guarded
from tests.rigs.topics import Topics, create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.timeout(240)]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
ACLS = commands_of(PAGE + (DOCS / "brokers.md").read_text(encoding="utf-8"))
POLICIES: Mapping[str, Sequence[Statement]] = {
    user: json.loads(text)["Statement"]
    for user, text in re.findall(r"<!-- policy: (\w+) -->\n```json\n(.*?)```", PAGE, flags=re.DOTALL)
}
LOCKED: Mapping[str, Any] = {"object_lock": "GOVERNANCE", "retention_days": 1}


@dataclass(frozen=True)
class Line:
    """A broker and a store that ask who one is, with topics and two buckets of this line's own."""

    kafka: SecuredKafka
    store: GuardedS3
    topics: Topics
    images: str
    audit: str
    folder: Path

    def allow(self, user: str, *, without: tuple[str, str] | None = None) -> None:
        """What the page's policy says, less an action on a bucket of the page."""
        statements = [less(statement, without) for statement in POLICIES[user]]
        text = json.dumps([one for one in statements if one["Action"]])
        text = text.replace(":::parts", f":::{self.images}").replace(":::inspection-audit", f":::{self.audit}")
        self.store.grant(user, json.loads(text))

    def grant_on_topics(self) -> None:
        for command in ACLS:
            Acl.of(command, self.topics).grant(self.kafka)

    def run(self, user: str, *arguments: str | Path, **audit: Any) -> tuple[int, str]:
        """Exit code and output of `consumer …` as a user of both; `line` is the consumers'."""
        login = {"sasl.username": "line" if user == "consumer" else user}
        settings = settings_for(
            self.topics,
            self.store.server,
            self.images,
            kafka={"bootstrap_servers": self.kafka.bootstrap_servers, "extra": {**self.kafka.extra, **login}},
            http={"port": 0},
            audit={"bucket": self.audit, **audit},
        )
        file, log = self.folder / "settings.yaml", self.folder / "output"
        file.write_text(yaml.safe_dump(settings))
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("CONSUMER_", "AWS_"))}
        environment = {
            **kept,
            **self.store.environment_of(user),
            "CONSUMER_SETTINGS": str(file),
            "COLUMNS": "300",
        }
        places = tuple(str(self.folder / one) if one == "photos" else str(one) for one in arguments)
        process = run_forked(places, environment=environment, log=log)
        process.join(60)
        assert process.exitcode is not None, log.read_text()
        return process.exitcode, log.read_text()


def less(statement: Statement, without: tuple[str, str] | None) -> dict[str, Any]:
    actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
    bucket = statement["Resource"].removeprefix("arn:aws:s3:::").partition("/")[0]
    return {**statement, "Action": [action for action in actions if (action, bucket) != without]}


@pytest.fixture(scope="module")
def line(secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("rights")
    with open_guarded([*USERS, "consumer"]) as store:
        topics = create_topics(secured.open_servers, folder.name, partitions=1)
        line = Line(secured, store, topics, "images-of-parts", "audit-of-parts", folder)
        client = store.server.client
        client.create_bucket(Bucket=line.images)
        client.create_bucket(Bucket=line.audit, ObjectLockEnabledForBucket=True)
        (folder / "photos").mkdir()
        for number in range(3):
            (folder / "photos" / f"{number}.jpg").write_bytes(picture(97, 33, seed=number))
        for user in POLICIES:
            line.allow(user)
        line.grant_on_topics()
        yield line


@pytest.fixture(scope="module")
def worked(line: Line) -> Line:
    """Images were published, inspected and audited, each by who has the rights for it: 4 results, a dead letter."""
    to = f"s3://{line.images}/line-1/"
    code, output = line.run("publisher", "publish", line.folder / "photos", "--to", to, "--limit", "2")
    assert (code, "uploaded 2 images" in output) == (0, True), output
    code, output = line.run("publisher", "publish", to, "--wait", "--timeout", "0.1")
    assert (code, "error: 2 outcomes are missing" in output) == (1, True), output
    line.topics.publish([job(line.images, "line-1/missing.jpg")])

    code, output = line.run("consumer", "run", "--until-caught-up")
    assert code == 0, output
    assert outcomes(line) == [None, None, None, None, "image_not_found"]
    code, output = line.run("auditor", "audit", "run", "--until-caught-up", **LOCKED)
    assert code == 0, output
    return line


@pytest.fixture(scope="module")
def versioned(worked: Line) -> Line:
    """And then a version of an image in a bucket that has versions by now."""
    client = worked.store.server.client
    client.put_bucket_versioning(Bucket=worked.images, VersioningConfiguration={"Status": "Enabled"})
    worked.store.server.put(worked.images, "line-1/versioned.jpg", picture(97, 33))
    worked.topics.publish([a_versioned_job(worked)])
    assert worked.run("consumer", "run", "--until-caught-up")[0] == 0
    assert worked.run("auditor", *AUDITOR, **LOCKED)[0] == 0
    return worked


def a_versioned_job(line: Line) -> bytes:
    key = "line-1/versioned.jpg"
    version = line.store.server.client.head_object(Bucket=line.images, Key=key)["VersionId"]
    image = {"bucket": line.images, "key": key, "version_id": version}
    return json.dumps({"schema": "inspection.job/1", "image": image}).encode()


def outcomes(line: Line) -> list[str | None]:
    with OutcomeReader(line.topics.bootstrap_servers, line.topics.outcomes) as reader:
        return sorted((one.reason for one in reader.read_to_end()), key=str)


def dead_letters(line: Line) -> list[str]:
    with OutcomeReader(line.topics.bootstrap_servers, [line.topics.dead_letters]) as reader:
        return [(one.value or b"").decode() for one in reader.read_to_end()]


def test_a_line_works_with_the_rights_of_the_page_alone(worked: Line) -> None:
    page = worked.folder / "report.html"
    for arguments, says in (
        (("audit", "reconcile"), "proven: every job has exactly one outcome"),
        (("audit", "verify"), "0 findings"),
        (("audit", "report", page), "4 pictures"),
        (("status",), "empty, no members"),
        (("results", "tail", "--since", "earliest", "--until-end"), "line-1/missing.jpg"),
        (("deadletters", "redrive", "--yes"), "1 job sent"),
    ):
        code, output = worked.run("operator", *arguments)
        assert (code, says in output) == (0, True), (arguments, output)


FOLDER = ("publish", "photos", "--to", "s3://images-of-parts/line-1/")
BELOW = ("publish", "s3://images-of-parts/line-1/")
AUDITOR = ("audit", "run", "--until-caught-up")
QUERY = ("audit", "query", "--limit", "1")
REDRIVE = ("deadletters", "redrive", "--yes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "action", "bucket", "arguments", "code", "says"),
    [
        ("publisher", "s3:PutObject", "parts", FOLDER, 2, "cannot be written: AccessDenied"),
        ("publisher", "s3:GetObject", "parts", (*FOLDER, "--limit", "2"), 0, "2 images; 0 were there already"),
        ("publisher", "s3:ListBucket", "parts", BELOW, 2, "cannot be listed: AccessDenied"),
        ("auditor", "s3:PutObject", "inspection-audit", AUDITOR, 2, "cannot be written: AccessDenied"),
        ("auditor", "s3:GetObject", "inspection-audit", AUDITOR, 2, "cannot be read: AccessDenied"),
        ("auditor", "s3:ListBucket", "inspection-audit", AUDITOR, 2, "cannot be listed: AccessDenied"),
        ("auditor", "s3:PutObjectRetention", "inspection-audit", AUDITOR, 2, "cannot be written: AccessDenied"),
        ("operator", "s3:GetObject", "inspection-audit", QUERY, 2, "lacked the necessary privileges"),
        ("operator", "s3:ListBucket", "inspection-audit", QUERY, 2, "cannot be listed: AccessDenied"),
    ],
)
def test_an_action_that_is_taken_away_is_missed_as_the_page_says(
    worked: Line, user: str, action: str, bucket: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    audit = {**LOCKED, **({"prefix": action.replace(":", "-")} if user == "auditor" else {})}
    worked.allow(user, without=(action, bucket))
    try:
        ended, output = worked.run(user, *arguments, **audit)
    finally:
        worked.allow(user)
    assert (ended, says in output) == (code, True), output


@pytest.mark.slow
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:GetObjectVersion"])
def test_a_report_has_no_picture_that_may_not_be_read_and_says_so(versioned: Line, action: str) -> None:
    page = versioned.folder / "again.html"
    page.unlink(missing_ok=True)
    versioned.allow("operator", without=(action, "parts"))
    try:
        code, output = versioned.run("operator", "audit", "report", page)
    finally:
        versioned.allow("operator")
    assert (code, "pictures are not shown" in output or "picture is not shown" in output) == (0, True), output
    assert "image_forbidden" in output
    assert page.read_text().count("data:image/jpeg;base64,") > 0, "those that may be read"


@pytest.mark.slow
@pytest.mark.parametrize(("action", "is_version"), [("s3:GetObject", False), ("s3:GetObjectVersion", True)])
def test_an_image_that_consumers_may_not_read_is_a_dead_letter(versioned: Line, action: str, is_version: bool) -> None:
    versioned.run("consumer", "run", "--until-caught-up")  # what another test has published
    before = Counter(outcomes(versioned))
    versioned.topics.publish([job(versioned.images, "line-1/0.jpg"), a_versioned_job(versioned)])
    versioned.allow("consumer", without=(action, "parts"))
    try:
        code, output = versioned.run("consumer", "run", "--until-caught-up")
    finally:
        versioned.allow("consumer")
    assert code == 0, output
    assert Counter(outcomes(versioned)) - before == {None: 1, "image_forbidden": 1}
    forbidden = ["version_id" in text for text in dead_letters(versioned) if text]
    assert forbidden[-1] == is_version


@pytest.mark.slow
@pytest.mark.parametrize(
    ("acl", "arguments", "says"),
    [
        ("User:publisher --topic inspection.jobs --operation Write", BELOW, "grant Write on topic"),
        ("User:publisher --topic inspection.results --operation Read", (*BELOW, "--wait"), "a right is missing"),
        ("User:publisher --topic inspection.dead-letters --operation Read", (*BELOW, "--wait"), "a right is missing"),
        ("User:auditor --topic inspection.jobs --operation Read", AUDITOR, "grant Read on topic"),
        ("User:auditor --topic inspection.results --operation Read", AUDITOR, "grant Read on topic"),
        ("User:auditor --topic inspection.dead-letters --operation Read", AUDITOR, "grant Read on topic"),
        ("User:auditor --group inspection-audit --operation Read", AUDITOR, "grant Read on group"),
        ("User:operator --topic inspection.jobs --operation Read", REDRIVE, "a right is missing"),
        ("User:operator --topic inspection.jobs --operation Write", (*REDRIVE, "--again"), "grant Write on topic"),
        ("User:operator --topic inspection.results --operation Read", ("results", "tail"), "a right is missing"),
        ("User:operator --topic inspection.dead-letters --operation Read", ("deadletters", "list"), "a right is"),
        ("User:operator --group inspection --operation Describe", ("status",), "a right is missing"),
    ],
)
def test_a_right_that_is_withdrawn_is_named(worked: Line, acl: str, arguments: tuple[str, ...], says: str) -> None:
    assert any(acl in command for command in ACLS), "of the page"
    Acl.of(f"--allow-principal {acl}", worked.topics).withdraw(worked.kafka)
    try:
        code, output = worked.run(acl.split(maxsplit=1)[0].removeprefix("User:"), *arguments)
    finally:
        worked.grant_on_topics()
    assert code == 2, output
    assert says in output
