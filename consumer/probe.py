"""Is the consumer in this container alive? What a container's health check runs: `python -m consumer.probe`.

It runs every few seconds within the consumer's own limits, so it imports nothing but the standard library.
"""

import http.client
import os
import sys

_SECONDS = 4.0


def main(arguments: list[str]) -> int:
    """Ask for /livez, or the page that is given; 0 if the answer is 200. What it says goes to stdout."""
    page = arguments[0] if arguments else "/livez"
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ.get("CONSUMER__HTTP__PORT", "8080")), timeout=_SECONDS
    )
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        sys.stdout.write(f"{answer.status} {answer.read().decode()}\n")
    except OSError as error:
        sys.stdout.write(f"{page}: {error}\n")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
