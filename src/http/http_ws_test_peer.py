"""The other side of http_ws_test.c: Debian's python3-websockets. usage: http_ws_test_peer.py check|client|server PATH

Exits 77 without the module.
"""
import asyncio
import sys

try:
    import websockets
except ImportError:
    sys.exit(77)

LARGE = bytes(range(256)) * 1000


async def client(path):
    async with websockets.unix_connect(path, "ws://localhost/", compression=None, max_size=1 << 24) as ws:
        for message in ("hello", "", "grüß dich \U0001F600", b"", b"\x00\xff", LARGE, "x" * 70000):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["in ", "three ", "parts"])
        assert await ws.recv() == "in three parts"
        pong = await ws.ping(b"are you there")
        await asyncio.wait_for(pong, 10)
        await ws.close(1000, "that was all")
    assert ws.close_code == 1000, ws.close_code


async def server(path):
    done = asyncio.Event()

    async def handle(ws):
        async for message in ws:
            if message == "close":
                await ws.close(4001, "as you wish")
                break
            await ws.send(message)
        assert ws.close_code == 4001, ws.close_code
        done.set()

    async with websockets.unix_serve(handle, path, compression=None, max_size=1 << 24):
        await asyncio.wait_for(done.wait(), 20)


if sys.argv[1] == "client":
    asyncio.run(client(sys.argv[2]))
elif sys.argv[1] == "server":
    asyncio.run(server(sys.argv[2]))
