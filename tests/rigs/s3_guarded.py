"""How does a test get a store that asks who one is and what one may do?"""

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.rigs.deadline import wait_until
from tests.rigs.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server, client_of

_ACCOUNT = "arn:aws:iam::000000000000:user"  # SeaweedFS puts every user there
_MARK = "policy-is-seen/"
_SEEN_SECONDS = 20

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class GuardedS3:
    """SeaweedFS with users who may do what their policies say; `server`'s own keys may do everything."""

    server: S3Server
    policies: dict[str, dict[str, Sequence[Statement]]]
    """Statements by bucket and user."""

    def environment_of(self, user: str) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": _secret(user), "AWS_REGION": REGION}

    def grant(self, user: str, statements: Sequence[Statement]) -> None:
        """Give a user these statements of an IAM policy in place of the former, and return when the store goes by them.

        They become bucket policies, which take the same statements and name whom they are for.
        """
        for bucket in {_bucket_of(statement) for statement in statements} | set(self.policies):
            own = [statement for statement in statements if _bucket_of(statement) == bucket]
            self.policies.setdefault(bucket, {})[user] = own
            self._apply(bucket, user)

    def _apply(self, bucket: str, user: str) -> None:
        """A policy is in force some time after it was written: one of its statements opens a new object and tells."""
        mark = f"{_MARK}{uuid.uuid4().hex}"
        self.server.put(bucket, mark, b"")
        opening = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/{mark}"}
        statements = [
            {**statement, "Principal": {"AWS": f"{_ACCOUNT}/{whom}"}}
            for whom, theirs in {**self.policies[bucket], user: [*self.policies[bucket][user], opening]}.items()
            for statement in theirs
        ]
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.server.client.put_bucket_policy(Bucket=bucket, Policy=text)
        client = client_of(self.server.endpoint_url, user, _secret(user))

        def is_seen() -> bool:
            try:
                client.get_object(Bucket=bucket, Key=mark)
            except ClientError:
                return False
            return True

        wait_until(is_seen, within=_SEEN_SECONDS, what=f"the policy of {user} on {bucket} is in force")
        client.close()
        self.server.client.delete_object(Bucket=bucket, Key=mark)


@contextmanager
def open_guarded(users: Sequence[str]) -> Iterator[GuardedS3]:
    with tempfile.TemporaryDirectory(prefix="inspection-users-") as folder:
        file = Path(folder) / "s3.json"
        identities = [
            _identity("admin", ACCESS_KEY, SECRET_KEY, "Admin"),
            *(_identity(user, user, _secret(user)) for user in users),
        ]
        file.write_text(json.dumps({"identities": identities}))
        with S3Server(options=[f"-s3.config={file}"]) as server:
            yield GuardedS3(server, {})


def _identity(name: str, access_key: str, secret_key: str, *actions: str) -> dict[str, Any]:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    return {"name": name, "credentials": credentials, "actions": list(actions)}


def _secret(user: str) -> str:
    return f"secret-of-{user}"


def _bucket_of(statement: Statement) -> str:
    """A bucket policy speaks of its own bucket alone."""
    return str(statement["Resource"]).removeprefix("arn:aws:s3:::").partition("/")[0]
