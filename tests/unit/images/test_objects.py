"""How often is the store asked?"""

import pytest
from botocore.exceptions import ClientError

from consumer.errors import Unavailable
from consumer.images.objects import ATTEMPTS, ask


@pytest.mark.parametrize(("is_stopping", "attempts"), [(False, ATTEMPTS), (True, 1)])
def test_a_busy_store_is_asked_again_until_the_caller_stops(is_stopping: bool, attempts: int) -> None:
    asked = 0

    def busy() -> None:
        nonlocal asked
        asked += 1
        raise ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")

    with pytest.raises(Unavailable, match="s3://parts/a cannot be written: SlowDown"):
        ask(busy, "s3://parts/a cannot be written", sleep=lambda _: is_stopping)
    assert asked == attempts
