"""What does an ONNX file say of itself? Read without any library, whatever is installed."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consumer.detection.weights import Weights
from consumer.errors import SettingsError

Dimensions = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """Metadata as text by key; `opset` is that of the standard operators; None is a dimension that is left open."""

    metadata: dict[str, str]
    producer: str
    opset: int | None
    inputs: tuple[Dimensions, ...]
    outputs: tuple[Dimensions, ...]


def read_header(weights: Weights) -> OnnxHeader:
    """Read what stands around nodes and weights, which are passed over. Raises SettingsError."""
    try:
        return _header_of(weights.path)
    except (OSError, ValueError, IndexError) as error:
        raise SettingsError(f"model.weights: {weights.path} is no readable ONNX file: {error}") from error


# The numbers are those of onnx.proto's fields, which ONNX never gives a second meaning.


def _header_of(path: Path) -> OnnxHeader:
    metadata: dict[str, str] = {}
    opsets: dict[str, int] = {}
    producer = ["", ""]
    ends: dict[int, list[Dimensions]] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for number, value in _fields(whole, 0, len(whole)):
            match number, value:
                case 2 | 3, (start, end):
                    producer[number - 2] = whole[start:end].decode()
                case 7, (start, end):
                    ends = _ends(whole, start, end)
                case 8, (start, end):
                    opset = _message(whole[start:end])
                    opsets[_text(opset, 1)] = _number(opset, 2) or 0
                case 14, (start, end):
                    entry = _message(whole[start:end])
                    metadata[_text(entry, 1)] = _text(entry, 2)
    if not ends:
        raise ValueError("it holds no graph")
    return OnnxHeader(
        metadata=metadata,
        producer=" ".join(producer).strip(),
        opset=opsets.get("", opsets.get("ai.onnx")),
        inputs=tuple(ends[11]),
        outputs=tuple(ends[12]),
    )


Span = tuple[int, int]
Buffer = mmap.mmap | bytes


def _fields(buffer: Buffer, at: int, end: int) -> Iterator[tuple[int, int | Span]]:
    """The fields of a protobuf message: a number's value, or where bytes begin and end."""
    while at < end:
        tag, at = _varint(buffer, at)
        kind, size = tag & 7, 0
        if kind == 0:
            value, at = _varint(buffer, at)
            yield tag >> 3, value
            continue
        match kind:
            case 1:
                size = 8
            case 2:
                size, at = _varint(buffer, at)
            case 5:
                size = 4
            case _:
                raise ValueError(f"byte {at} begins no field of a protobuf message")
        if at + size > end:
            raise ValueError(f"it ends at byte {end}, in the middle of a field")
        yield tag >> 3, (at, at + size)
        at += size


def _varint(buffer: Buffer, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"byte {at} begins no number of a protobuf message")


Message = dict[int, list[int | bytes]]


def _message(content: bytes) -> Message:
    found: Message = {}
    for number, value in _fields(content, 0, len(content)):
        found.setdefault(number, []).append(value if isinstance(value, int) else content[slice(*value)])
    return found


def _text(message: Message, number: int) -> str:
    return b"".join(value for value in message.get(number, []) if isinstance(value, bytes)).decode()


def _number(message: Message, number: int) -> int | None:
    return next((value for value in message.get(number, []) if isinstance(value, int)), None)


def _nested(message: Message, number: int) -> list[Message]:
    return [_message(value) for value in message.get(number, []) if isinstance(value, bytes)]


def _ends(whole: mmap.mmap, start: int, end: int) -> dict[int, list[Dimensions]]:
    """The shapes of the graph's inputs (11) and outputs (12)."""
    found: dict[int, list[Dimensions]] = {11: [], 12: []}
    for number, value in _fields(whole, start, end):
        if number in found and isinstance(value, tuple):
            found[number].append(_shape(_message(whole[slice(*value)])))
    return found


def _shape(value: Message) -> Dimensions:
    """ValueInfoProto.type.tensor_type.shape.dim.dim_value"""
    return tuple(
        _number(dimension, 1)
        for kind in _nested(value, 2)
        for tensor in _nested(kind, 1)
        for shape in _nested(tensor, 2)
        for dimension in _nested(shape, 1)
    )
