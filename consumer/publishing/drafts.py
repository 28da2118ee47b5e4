"""What does a job look like that is to be published, and is a line of text one?"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, Self

import msgspec

from consumer.errors import CheckFailed, Rejected, SettingsError
from consumer.images.names import client_for
from consumer.intake import contents_of
from consumer.messages import ImageReference, JobParameters, Record

KeyChoice = Literal["none", "image", "folder", "job-id"]

MAX_LINE_BYTES = 16 * 2**20
_IN_MEMORY = 16 * 2**20
_SHOWN = 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # PowerShell's
_SCHEMA = msgspec.Raw(b'"inspection.job/1"')
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Draft:
    """A job as it will be published: the record's value, and what its key can be made of."""

    value: bytes
    image: ImageReference
    job_id: str | None = None

    def key(self, choice: KeyChoice) -> bytes | None:
        """Jobs of one key stay in order; without one they are spread. An image's folder is its key up to the last /."""
        match choice:
            case "none":
                return None
            case "image":
                return self.image.key.encode()
            case "folder":
                return self.image.key.rpartition("/")[0].encode()
            case "job-id":
                return None if self.job_id is None else self.job_id.encode()


class Template:
    """What the jobs of one publication have in common; what a job says itself wins."""

    def __init__(self, *, parameters: str | None = None, metadata: str | None = None) -> None:
        """Both are JSON. Raises SettingsError with the path of what is wrong."""
        self._common: dict[str, Any] = {}
        if parameters is not None:
            _decode(parameters, JobParameters, "--parameters")
            given = _decode(parameters, dict[str, Any], "--parameters")
            if unknown := given.keys() - set(JobParameters.__struct_fields__):  # on the wire they are passed over
                raise SettingsError(f"--parameters: $.{min(unknown)}: there is no such parameter")
            self._common["parameters"] = _on_one_line(parameters)
        if metadata is not None:
            _decode(metadata, Any, "--metadata")
            self._common["metadata"] = _on_one_line(metadata)

    def of_image(self, bucket: str, key: str) -> Draft:
        image = {"bucket": bucket, "key": key}
        value = msgspec.json.encode({"schema": _SCHEMA, "image": image} | self._common)
        return Draft(value, ImageReference(bucket, key))

    def of_line(self, line: bytes) -> Draft:
        """The job of `s3://bucket/key` or of a native job in JSON, which may leave out `schema`.

        Raises Rejected with the path of the field that is wrong.
        """
        if line.lstrip().startswith(b"{"):
            value = self._completed(line.strip())
        elif line.startswith(b"s3://"):
            uri = _text(line)
            value = msgspec.json.encode({"schema": _SCHEMA, "image": uri} | self._common)
        else:
            start = line[:60].decode(errors="replace")
            raise Rejected("schema_invalid", f"expected s3://bucket/key or a job in JSON, got {start!r}")
        (job,) = contents_of(Record("", 0, 0, 0, None, value)).jobs
        try:
            client_for(job.image.bucket, job.image.key)
        except Rejected as error:
            raise Rejected("schema_invalid", f"$.image: {error}") from error
        return Draft(value, job.image, msgspec.json.decode(value, type=_Named).job_id)

    def _completed(self, line: bytes) -> bytes:
        """The line as it is where nothing is missing; what it holds stays byte for byte."""
        _text(line)
        try:
            given = _fields.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Rejected("schema_invalid", f"$: {error}") from error
        missing = {"schema": _SCHEMA, **self._common}.items()
        added = {name: value for name, value in missing if name not in given}
        return msgspec.json.encode(added | given) if added else line


class _Named(msgspec.Struct):
    job_id: str | None = None


class Lines:
    """All jobs of a text, one a line, each one looked at before the first is given out; use it in a `with`.

    The text is kept in a temporary file, not in memory.
    """

    def __init__(self, source: IO[bytes], template: Template, *, name: str = "stdin") -> None:
        """Reads to the end. Raises SettingsError with the number of every wrong line (of the first ten)."""
        self.name = name
        self._template = template
        self._kept = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # __exit__ closes it
        self.total = 0
        try:
            self._keep(source, name)
        except BaseException:
            self._kept.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def __iter__(self) -> Iterator[Draft]:
        self._kept.seek(0)
        for line in self._kept:
            yield self._template.of_line(line.removesuffix(b"\n"))

    def _keep(self, source: IO[bytes], name: str) -> None:
        problems: list[str] = []
        wrong = 0
        for number, line in _numbered(source):
            try:
                self._template.of_line(line)
                self._kept.write(line + b"\n")
                self.total += 1
            except Rejected as error:
                wrong += 1
                if wrong <= _SHOWN:
                    problems.append(f"{name} line {number}: {error}")
            except OSError as error:
                raise CheckFailed(f"{name} cannot be kept in {tempfile.gettempdir()}: {error.strerror}") from error
        if wrong > _SHOWN:
            problems.append(f"and {wrong - _SHOWN} more wrong lines")
        if problems:
            problems[-1] += "; nothing was sent"
            raise SettingsError("\n".join(problems))


def _numbered(source: IO[bytes]) -> Iterable[tuple[int, bytes]]:
    """Lines that are not blank, without their ends, numbered from 1."""
    number = 0
    while line := source.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) > MAX_LINE_BYTES:
            raise SettingsError(f"line {number} is longer than {MAX_LINE_BYTES} bytes; nothing was sent")
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Rejected("schema_invalid", f"$: not UTF-8 at byte {error.start}") from error


def _decode(text: str, type_: Any, option: str) -> Any:
    try:
        return msgspec.json.decode(text.encode(), type=type_)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise SettingsError(f"{option}: {error}") from error


def _on_one_line(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
