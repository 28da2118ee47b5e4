"""What if the store were far away? A TCP proxy delivers each byte later.

`python -m benchmarks.delay PORT UPSTREAM-PORT ROUND-TRIP`. A process of its own, so that its
work can be told from everybody else's.
"""

import asyncio
import contextlib
import sys

CHUNK = 2**18
AHEAD = 64  # chunks on their way in one direction


async def serve(port: int, upstream_port: int, round_trip: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)  # that of the handshake
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", upstream_port)
        await asyncio.gather(
            _carry(reader, there_writer, round_trip / 2),
            _carry(there_reader, writer, round_trip / 2),
            return_exceptions=True,
        )

    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Deliver each chunk `delay` after it came, in order; chunks travel side by side."""
    loop = asyncio.get_running_loop()
    on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)

    async def deliver() -> None:
        while True:
            due, chunk = await on_its_way.get()
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        writer.close()

    delivering = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            await on_its_way.put((loop.time() + delay, chunk))
    await on_its_way.put((loop.time() + delay, b""))
    with contextlib.suppress(ConnectionError):
        await delivering


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
