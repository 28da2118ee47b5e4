"""Only what can be sent unchanged is sent."""

import pytest

from consumer.errors import Rejected
from consumer.images.names import client_for, is_bucket


@pytest.mark.parametrize("name", ["parts", "a1b", "line-3.parts", "x" * 63])
def test_a_bucket_name_by_the_rules_of_s3_is_taken(name: str) -> None:
    assert is_bucket(name)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "x" * 64, "Parts", "pa/rts", "parts?", "-parts", "parts-", "a..b", "192.168.0.1", "pärts", "parts\n"],
)
def test_a_bucket_name_that_could_change_the_address_is_refused(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        client_for(name, "a.jpg")
    assert caught.value.reason == "schema_invalid"


@pytest.mark.parametrize("key", ["a.jpg", "ü 1+2%2F?#.jpg", "😀", ".hidden", "a..b/...", "a\\b", "é" * 512])
def test_usual_keys_go_through_obstore(key: str) -> None:
    assert client_for("parts", key) == "obstore"


@pytest.mark.parametrize("key", ["/a.jpg", "a//b.jpg", "folder/", "//a"])
def test_keys_with_empty_segments_go_through_boto3(key: str) -> None:
    assert client_for("parts", key) == "boto3"


@pytest.mark.parametrize(
    "key", ["", "/", "//", ".", "..", "a/../b", "./a", "a/.", "a\nb", "a\x00", "\x7f", "é" * 513, "a\ud800"]
)
def test_a_key_that_cannot_be_sent_unchanged_is_refused_by_name(key: str) -> None:
    with pytest.raises(Rejected, match=r"key .* of bucket parts ") as caught:
        client_for("parts", key)
    assert caught.value.reason == "schema_invalid"
