"""The other side of grpc_test.c: Debian's python3-grpcio. usage: grpc_test_peer.py check|client|server TARGET

Payloads are bytes. Exits 77 without the module.
"""
import sys
import threading
import time

try:
    import grpc
except ImportError:
    sys.exit(77)


def refused(call, code, details=None):
    try:
        call()
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        assert details is None or e.details() == details, e.details()
        return e
    raise AssertionError("not refused")


def client(target):
    channel = grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", 8 << 20)])
    unary = channel.unary_unary("/test.Echo/Unary")
    # Unary, metadata both ways.
    reply, call = unary.with_call(b"hello", metadata=(("x-key", "value"), ("x-data-bin", b"\x00\xff\x10")), timeout=600)
    assert reply == b"hello"
    assert ("x-key", "value") in call.initial_metadata(), call.initial_metadata()
    assert ("x-data-bin", b"\x00\xff\x10") in call.initial_metadata(), call.initial_metadata()
    assert ("x-after", "done") in call.trailing_metadata()
    assert unary(b"", timeout=600) == b""
    assert unary(b"z" * 1000000, timeout=600) == b"z" * 1000000
    # Status, words with what has to be escaped, binary trailers.
    e = refused(lambda: unary(b"fail", timeout=600), grpc.StatusCode.NOT_FOUND, 'no such thing: "é" 100%')
    assert ("why-bin", b"\x00\xff") in e.trailing_metadata()
    refused(lambda: unary(b"blank", timeout=600), grpc.StatusCode.NOT_FOUND, " between blanks ")
    refused(lambda: unary(b"error", timeout=600), grpc.StatusCode.ABORTED, "the object has been modified")
    refused(lambda: channel.unary_unary("/test.Echo/None")(b"", timeout=600), grpc.StatusCode.UNIMPLEMENTED,
            "unknown method None for service test.Echo")
    refused(lambda: channel.unary_unary("/other/None")(b"", timeout=600), grpc.StatusCode.UNIMPLEMENTED, "unknown service other")
    # Sizes and compression.
    refused(lambda: unary(b"z" * ((4 << 20) + 1), timeout=600), grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (4194305 vs. 4194304)")
    assert unary(b"z" * (4 << 20), timeout=600) == b"z" * (4 << 20)
    assert len(channel.unary_unary("/test.Echo/Large")(b"", timeout=600)) == 6 << 20
    refused(lambda: unary(b"z" * 1000, timeout=600, compression=grpc.Compression.Gzip), grpc.StatusCode.UNIMPLEMENTED)
    # Streams.
    count = channel.unary_stream("/test.Echo/Count")
    assert [len(m) for m in count(b"12345", timeout=600)] == [1000] * 5
    assert list(count(b"", timeout=600)) == []
    assert sum(len(m) for m in count(b"x" * 5000, timeout=600)) == 5000000
    total = channel.stream_unary("/test.Echo/Sum")
    assert total(iter([b"abc", b"", b"d" * 100000]), timeout=600) == b"3 messages, 100003 bytes"
    assert total(iter([b"m" * i for i in range(1000)]), timeout=600) == b"1000 messages, 499500 bytes"
    assert total(iter([]), timeout=600) == b"0 messages, 0 bytes"
    chat = channel.stream_stream("/test.Echo/Chat")
    ready = threading.Event()

    def one_after_the_other():
        for i in range(3):
            yield b"%d" % i
            assert ready.wait(60)
            ready.clear()

    got = []
    call = chat(one_after_the_other(), timeout=600)
    for m in call:
        got.append(m)
        ready.set()
    assert got == [b"0", b"1", b"2"], got
    assert ("x-chat", "open") in call.initial_metadata()
    # Deadlines and cancelling: the server hears of both.
    never = channel.unary_unary("/test.Echo/Never")
    began = time.monotonic()
    refused(lambda: never(b"", timeout=0.2), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert time.monotonic() - began < 30
    future = never.future(b"", timeout=600)
    time.sleep(0.1)
    future.cancel()
    call = chat(iter(lambda: time.sleep(0.05) or b"tick", None), timeout=600)
    assert next(call) == b"tick"
    call.cancel()
    # Many at once on one connection.
    futures = [unary.future(b"%d" % i, timeout=600) for i in range(300)]
    assert [f.result() for f in futures] == [b"%d" % i for i in range(300)]
    channel.close()


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        return {"Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "Count": grpc.unary_stream_rpc_method_handler(self.count),
                "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                "Never": grpc.unary_unary_rpc_method_handler(self.never),
                "Large": grpc.unary_unary_rpc_method_handler(lambda m, c: bytes(6 << 20))}.get(name)

    def unary(self, message, context):
        metadata = dict(context.invocation_metadata())
        if message == b"fail":
            context.set_trailing_metadata((("why-bin", b"\x00\xff"),))
            context.abort(grpc.StatusCode.NOT_FOUND, 'no such thing: "é" 100%')
        if message == b"blank":
            context.abort(grpc.StatusCode.NOT_FOUND, " between blanks ")
        if message == b"stop":
            stop.set()
        context.send_initial_metadata(tuple((k, v) for k, v in metadata.items() if k.startswith("x-")))
        context.set_trailing_metadata((("x-after", "done"),))
        return message

    def count(self, message, context):
        for _ in message:
            yield b"x" * 1000

    def sum(self, messages, context):
        sizes = [len(m) for m in messages]
        return b"%d messages, %d bytes" % (len(sizes), sum(sizes))

    def chat(self, messages, context):
        context.send_initial_metadata((("x-chat", "open"),))
        for m in messages:
            yield m

    def never(self, message, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(10)
        return b""


stop = threading.Event()


def server(target):
    from concurrent import futures
    s = grpc.server(futures.ThreadPoolExecutor(8), handlers=(Handler(),))
    s.add_insecure_port(target)
    s.start()
    stop.wait(60)
    s.stop(1).wait()


if sys.argv[1] == "client":
    client(sys.argv[2])
elif sys.argv[1] == "server":
    server(sys.argv[2])
