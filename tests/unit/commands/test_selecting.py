"""What does a person hear when an audit cannot be read?"""

import io
from pathlib import Path

import polars as pl
import pytest

from consumer.audit.folder import FolderShelf
from consumer.audit.library import Library
from consumer.commands.selecting import reading
from consumer.errors import CheckFailed, ConsumerError, SettingsError, Unavailable


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (PermissionError("object-store error: The operation lacked the necessary privileges"), SettingsError),
        (FileNotFoundError("object-store error: Object at location x not found"), CheckFailed),
        (ConnectionRefusedError("object-store error: Generic S3 error: Error performing GET"), Unavailable),
    ],
)
def test_what_a_store_refuses_lacks_or_does_not_answer_is_told_apart(
    tmp_path: Path, raised: OSError, error: type[ConsumerError]
) -> None:
    """Types and words as polars 2.1 raises them; tests/integration/test_least_rights.py has the first from a store."""
    with pytest.raises(error, match="cannot be read: object-store error"), reading(Library(FolderShelf(tmp_path))):
        raise raised


def test_of_a_long_reason_the_end_is_told_too(tmp_path: Path) -> None:
    text = f"object-store error: Error performing GET https://parts{'/x' * 500}: UnknownIssuer"
    with (
        pytest.raises(Unavailable, match=r"performing GET https://parts.* … .*UnknownIssuer$") as raised,
        reading(Library(FolderShelf(tmp_path))),
    ):
        raise OSError(text)
    assert len(str(raised.value)) < 600


def test_what_is_no_parquet_is_a_failed_check(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="cannot be read"), reading(Library(FolderShelf(tmp_path))):
        pl.read_parquet(io.BytesIO(b"no Parquet at all"))


def test_an_output_that_cannot_be_written_is_not_the_audits_fault(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), reading(Library(FolderShelf(tmp_path))):
        tmp_path.write_bytes(b"")
