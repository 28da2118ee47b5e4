"""Are the buckets there, and does the store keep what is written to them? Makes those that are missing.

For `docker compose`: python buckets.py BUCKET… ; addresses and keys are those of the consumer's environment.
"""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PATIENCE = 120.0  # seconds
PROBE = ".written-by-the-buckets-service"
OURS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def main(buckets: list[str]) -> int:
    address = os.environ["CONSUMER__S3__ENDPOINT_URL"]
    config = Config(
        connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    client = boto3.client("s3", endpoint_url=address, config=config)
    end = time.monotonic() + PATIENCE
    for bucket in buckets:
        while (reason := why_not(client, bucket)) is not None:
            if time.monotonic() > end:
                sys.stderr.write(f"bucket {bucket} at {address} is not there after {PATIENCE:g} s: {reason}\n")
                return 1
            time.sleep(0.5)
        sys.stdout.write(f"bucket {bucket} is there\n")
    return 0


def why_not(client: object, bucket: str) -> str | None:
    """Make the bucket, write an object and delete it; None if that went well."""
    try:
        make(client, bucket)
        client.put_object(Bucket=bucket, Key=PROBE, Body=b"")  # type: ignore[attr-defined]
        client.delete_object(Bucket=bucket, Key=PROBE)  # type: ignore[attr-defined]
    except (ClientError, BotoCoreError) as error:
        return str(error)
    return None


def make(client: object, bucket: str) -> None:
    try:
        client.create_bucket(Bucket=bucket)  # type: ignore[attr-defined]
    except ClientError as error:
        if error.response["Error"]["Code"] not in OURS:
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
