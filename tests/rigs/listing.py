"""How does a test get a bucket with a million objects? From a server that makes each page when it is asked for it."""

import http.server
import threading
from typing import Self
from urllib.parse import parse_qs, urlsplit

PAGE = 1000
PREFIX = "line-3/"


class ListedBucket:
    """Speaks ListObjectsV2 for `count` objects `line-3/0000000.jpg` and so on, each of 1 byte; use it in a `with`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pages = 0
        bucket = self

        class _Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = bucket.page(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="listed-bucket").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def page(self, target: str) -> bytes:
        self.pages += 1
        asked = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
        if "continuation-token" in asked:
            first = int(asked["continuation-token"])
        elif "start-after" in asked:
            first = int(asked["start-after"].removeprefix(PREFIX).removesuffix(".jpg")) + 1
        else:
            first = 0
        last = min(first + PAGE, self.count)
        entries = "".join(
            f"<Contents><Key>{PREFIX}{number:07}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(first, last)
        )
        is_cut = last < self.count
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if is_cut else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>big</Name><Prefix>{PREFIX}</Prefix><KeyCount>{last - first}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<EncodingType>url</EncodingType><IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        ).encode()
