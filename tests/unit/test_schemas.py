"""Do the files in schemas/ say what the types say, and what jobs and results really look like?"""

import json
from typing import Any

import jsonschema
import pytest

from consumer.errors import REASONS, Rejected
from consumer.intake import contents_of
from consumer.messages import encode_dead_letter, encode_result
from consumer.schemas import FOLDER, documents, render
from tests.unit.samples import NATIVE, a_letter, a_record, a_result

DOCUMENTS = documents()
JOB, RESULT = DOCUMENTS["inspection.job.v1.schema.json"], DOCUMENTS["inspection.result.v1.schema.json"]
ASYNCAPI = DOCUMENTS["asyncapi.json"]

FULL_JOB = {
    "schema": "inspection.job/1",
    "job_id": "part-17",
    "image": {"bucket": "parts", "key": "line-3/0001.jpg", "version_id": None, "etag": None},
    "parameters": {"confidence": 0.25, "iou": 0.7, "max_detections": 300, "classes": ["scratch", 4]},
    "metadata": {"anything": [1, None, "x"]},
    "of a newer producer": True,
}
JOBS = [FULL_JOB, json.loads(NATIVE), {"schema": "inspection.job/1", "image": "s3://parts/1.jpg", "parameters": None}]
NO_JOBS: list[Any] = [
    {},
    [],
    FULL_JOB | {"schema": "inspection.job/2"},
    FULL_JOB | {"image": 5},
    FULL_JOB | {"image": {"bucket": "parts"}},
    FULL_JOB | {"image": {"bucket": "parts", "key": ""}},
    FULL_JOB | {"job_id": ""},
    FULL_JOB | {"parameters": {"confidence": 2}},
    FULL_JOB | {"parameters": {"max_detections": 0}},
    FULL_JOB | {"parameters": {"classes": [None]}},
]


def is_valid(document: Any, schema: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(document)


def test_the_files_are_what_the_types_say() -> None:
    """`make schemas` writes them again."""
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}

    assert written == {name: render(document) for name, document in DOCUMENTS.items()}


@pytest.mark.parametrize("schema", [JOB, RESULT], ids=["job", "result"])
def test_a_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("job", JOBS)
def test_what_the_schema_calls_a_job_is_taken(job: dict[str, Any]) -> None:
    assert is_valid(job, JOB)
    assert len(contents_of(a_record(json.dumps(job).encode())).jobs) == 1


@pytest.mark.parametrize("job", NO_JOBS)
def test_what_the_schema_refuses_is_refused(job: Any) -> None:
    assert not is_valid(job, JOB)
    with pytest.raises(Rejected):
        contents_of(a_record(json.dumps(job).encode()))


@pytest.mark.parametrize("detections", [0, 1, 3])
def test_a_result_is_what_its_schema_says(detections: int) -> None:
    (job,) = contents_of(a_record(json.dumps(FULL_JOB).encode())).jobs
    body = json.loads(encode_result(a_result(detections=detections, metadata=job.metadata)).value or b"")

    assert is_valid(body, RESULT)


@pytest.mark.parametrize("field", RESULT["$defs"]["ResultMessage"]["required"])
def test_a_result_without_one_of_its_fields_is_none(field: str) -> None:
    body = json.loads(encode_result(a_result()).value or b"")
    del body[field]

    assert not is_valid(body, RESULT)


def test_the_asyncapi_document_leads_everywhere_it_points_to() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= ASYNCAPI["info"].keys()
    pointers = list(references(ASYNCAPI))
    assert len(pointers) == 9

    for pointer in pointers:
        file, _, path = pointer.partition("#")
        target: Any = DOCUMENTS[file.removeprefix("./")] if file else ASYNCAPI
        for part in path.split("/")[1:]:
            target = target[part]


def test_the_asyncapi_document_has_the_three_topics() -> None:
    channels = ASYNCAPI["channels"].values()

    assert {channel["address"] for channel in channels} == {
        "inspection.jobs",
        "inspection.results",
        "inspection.dead-letters",
    }
    assert {operation["action"] for operation in ASYNCAPI["operations"].values()} == {"send", "receive"}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("max_bytes", [None, 900])
def test_a_dead_letters_headers_are_what_the_document_says(reason: str, max_bytes: int | None) -> None:
    letter = a_letter(a_record(b"v" * 1000, key=None), reason=reason, index=1)
    told = {name: (value or b"").decode() for name, value in encode_dead_letter(letter, max_bytes=max_bytes).headers}
    schema = ASYNCAPI["components"]["messages"]["deadLetter"]["headers"]

    assert told.keys() - schema["properties"].keys() - {"content-type"} == set()
    assert is_valid(told, schema)


def references(document: Any) -> list[str]:
    match document:
        case {"$ref": str(reference)}:
            return [reference]
        case dict():
            return [reference for part in document.values() for reference in references(part)]
        case _:
            return []
