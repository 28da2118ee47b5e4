"""Where do the buckets lie, and with which credentials, region and time-outs are they read?

boto3 knows the credentials (environment, profiles, SSO, roles, container and instance metadata) and the address of a
bucket; obstore moves the bytes, for a tenth of the CPU.
"""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from consumer.errors import SettingsError, Unavailable
from consumer.settings import S3Settings

if TYPE_CHECKING:  # exists for type checkers alone
    from obstore.store import ClientConfig

CONNECT_TIMEOUT = 5.0
STALL_TIMEOUT = 10.0  # a store that sends nothing for so long is not there
_DEFAULT_REGION = "us-east-1"
# obstore asks again 5 minutes before the end of this time, and botocore's temporary credentials are good for at least
# 10 more minutes when it gives them out: so none is used after its end. obstore's own default, 30, would do that.
_CREDENTIALS_TTL = timedelta(minutes=10)


class S3Access:
    """Makes the clients that read buckets. Raises `SettingsError` when there is no profile or no credentials."""

    def __init__(self, settings: S3Settings) -> None:
        try:
            self._session = boto3.Session(profile_name=settings.profile)
            self._region = _region(settings, self._session)
            self._certificates = _certificates()
            self._has_endpoint = _has_endpoint(settings)
            self._is_path = settings.path_style if settings.path_style is not None else self._has_endpoint
            self._provider = Boto3CredentialProvider(self._session, ttl=_CREDENTIALS_TTL)
            self.boto3_client = _boto3_client(self._session, settings, self._region)
        except (BotoCoreError, ValueError, OSError) as error:
            raise SettingsError(f"s3: {_describe(error)}") from error

    def check_credentials(self) -> None:
        """Fetch credentials once, as the first GET would; `SettingsError` if they are refused."""
        try:
            self._provider()
        except (NoConnection, HTTPClientError) as error:
            raise Unavailable("credentials", f"s3: the source of the credentials does not answer: {error}") from error
        except (BotoCoreError, ClientError) as error:
            raise SettingsError(f"s3: no credentials to be had: {error}") from error

    def address(self, bucket: str) -> str:
        """The URL that a key is appended to, by boto3's rules (path style, region, endpoint of the profile)."""
        signed: str = self.boto3_client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        url = urlsplit(signed)
        return f"{url.scheme}://{url.netloc}{url.path.removesuffix('/k')}"

    def obstore_client(self, bucket: str, timeout: float) -> S3Store:
        """A client of one bucket that tries once; a GET with its whole body takes `timeout` seconds at most."""
        address = self.address(bucket)
        return S3Store(
            bucket,
            config={
                # obstore's AWS_ENDPOINT_URL_S3 would win over `endpoint`. Both already hold the bucket.
                "endpoint": address,
                "aws_endpoint_url_s3": address,
                "virtual_hosted_style_request": True,
                "region": self._region,
            },
            client_options=self._client_options(timeout),
            retry_config={"max_retries": 0},
            credential_provider=self._provider,
        )

    def polars_options(self) -> dict[str, Any]:
        """What polars' readers take to read buckets with these credentials, region and address style.

        Whom they trust they are told through this process's environment alone.
        """
        if self._certificates is not None:
            os.environ.setdefault("SSL_CERT_FILE", os.environ["AWS_CA_BUNDLE"])
        endpoint = self.boto3_client.meta.endpoint_url if self._has_endpoint else None
        options = {"aws_region": self._region, "aws_virtual_hosted_style_request": str(not self._is_path).lower()}
        return {
            "storage_options": options | ({"aws_endpoint_url": endpoint} if endpoint else {}),
            "credential_provider": self._polars_credentials,
        }

    def _polars_credentials(self) -> tuple[dict[str, str | None], int | None]:
        found = self._session.get_credentials().get_frozen_credentials()
        names = {"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key}
        session = {"aws_session_token": found.token} if found.token else {}
        return {**names, **session}, int(time.time() + _CREDENTIALS_TTL.total_seconds())

    def _client_options(self, timeout: float) -> "ClientConfig":
        options: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT, timeout)),
            "read_timeout": timedelta(seconds=min(STALL_TIMEOUT, timeout)),
            "timeout": timedelta(seconds=timeout),
        }
        if self._certificates is not None:
            options["root_certificate"] = self._certificates
        return options


def _region(settings: S3Settings, session: boto3.Session) -> str:
    # botocore reads AWS_DEFAULT_REGION and the profile; AWS_REGION is every other SDK's name for it.
    return settings.region or session.region_name or os.environ.get("AWS_REGION") or _DEFAULT_REGION


def _certificates() -> bytes | None:
    bundle = os.environ.get("AWS_CA_BUNDLE")  # boto3 reads it by itself, obstore does not
    return Path(bundle).read_bytes() if bundle else None


def _boto3_client(session: boto3.Session, settings: S3Settings, region: str) -> Any:  # its class is made at run time
    is_path = settings.path_style if settings.path_style is not None else _has_endpoint(settings)
    config = Config(
        s3={"addressing_style": "path" if is_path else "virtual"},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=STALL_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=64,
        # Newer boto3 asks for and checks checksums that other stores do not know.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client("s3", endpoint_url=settings.endpoint_url, region_name=region, config=config)


def _has_endpoint(settings: S3Settings) -> bool:
    return bool(settings.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))


def _describe(error: Exception) -> str:
    if "session.get_credentials" in str(error):  # Boto3CredentialProvider's words for it
        return "no credentials found (environment, profile, role or instance metadata)"
    return str(error)
