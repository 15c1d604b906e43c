"""A worker without agent whose main thread waits in one of many ways, or never waits.

    inject_target.py KIND

Whatever comes on the socket that is its standard input goes back on standard output,
by the way of that wait. What is not as it should be afterwards, a wait that ended too
early or a register that was changed, ends it with an exit code above 90.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
import zlib

WRONG = 91
FOREVER = 10_000


def echo(data):  # type: ignore[no-untyped-def]
    if not data:
        os._exit(0)
    os.write(1, data)


def read():  # type: ignore[no-untyped-def]
    echo(os.read(0, 100))


def recv():  # type: ignore[no-untyped-def]
    echo(socket.socket(fileno=os.dup(0)).recv(100))


def epoll():  # type: ignore[no-untyped-def]
    with select.epoll() as waiter:
        waiter.register(0, select.EPOLLIN)
        if not waiter.poll(FOREVER):
            os._exit(WRONG)
    read()


def poll():  # type: ignore[no-untyped-def]
    waiter = select.poll()
    waiter.register(0, select.POLLIN)
    if not waiter.poll(FOREVER * 1000):
        os._exit(WRONG)
    read()


def select_():  # type: ignore[no-untyped-def]
    if select.select([0], [], [], FOREVER)[0] != [0]:
        os._exit(WRONG)
    read()


def accept():  # type: ignore[no-untyped-def]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("")
        listener.listen()

        def connect():  # type: ignore[no-untyped-def]
            data = os.read(0, 100)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                client.sendall(data or b"\0")

        threading.Thread(target=connect).start()
        with listener.accept()[0] as connection:
            echo(connection.recv(100).rstrip(b"\0"))


def lock():  # type: ignore[no-untyped-def]
    come, data = threading.Event(), []
    threading.Thread(target=lambda: (data.append(os.read(0, 100)), come.set())).start()
    come.wait()
    echo(data[0])


def child():  # type: ignore[no-untyped-def]
    pid = os.fork()
    if not pid:
        data = os.read(0, 1)
        os._exit(data[0] if data else 0)
    _, status = os.waitpid(pid, 0)
    echo(bytes([os.waitstatus_to_exitcode(status)]).rstrip(b"\0"))


def sleep():  # type: ignore[no-untyped-def]
    began = time.monotonic()
    time.sleep(0.02)
    if not time.monotonic() - began >= 0.02:
        os._exit(WRONG)
    if select.select([0], [], [], 0)[0]:
        read()


def compute():  # type: ignore[no-untyped-def]
    data = [{"name": str(i), "value": i * 0.5} for i in range(300)]
    text = repr(sorted(data, key=lambda each: -each["value"])).encode()
    sums = (zlib.crc32(text), sum(each["value"] / 3 for each in data), len(text))
    if FIRST.setdefault("sums", sums) != sums:
        os._exit(WRONG)
    if select.select([0], [], [], 0)[0]:
        read()


def threads():  # type: ignore[no-untyped-def]
    if "threads" not in FIRST:
        FIRST["threads"] = [
            threading.Thread(target=churn, daemon=True) for _ in range(4)
        ]
        for each in FIRST["threads"]:
            each.start()
    lock()


def churn():  # type: ignore[no-untyped-def]
    while True:
        _ = [bytearray(700) for _ in range(2000)]


def gil():  # type: ignore[no-untyped-def]
    zlib.crc32  # noqa: B018  looked up before
    sum(range(3_000_000))
    if select.select([0], [], [], 0)[0]:
        read()


def full():  # type: ignore[no-untyped-def]
    if "full" not in FIRST:
        FIRST["full"] = threading.Thread(target=fill, daemon=True)
        FIRST["full"].start()
    poll()


def fill():  # type: ignore[no-untyped-def]
    import ctypes

    add, call = ctypes.pythonapi.Py_AddPendingCall, ctypes.CFUNCTYPE(ctypes.c_int)
    FIRST["call"] = nothing = call(lambda: 0)
    while "said" not in FIRST:
        time.sleep(0.01)
        if add(nothing) and add(nothing):
            FIRST["said"] = os.write(1, b"full")


def vfork():  # type: ignore[no-untyped-def]
    if "vfork" not in FIRST:
        FIRST["vfork"] = True
        here = [(os.POSIX_SPAWN_OPEN, 9, sys.argv[2], os.O_RDONLY, 0)]
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=here), 0)
    poll()


def flood():  # type: ignore[no-untyped-def]
    import ctypes

    nothing = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)
    add = ctypes.pythonapi.Py_AddPendingCall
    while not select.select([0], [], [], 0)[0]:
        for _ in range(1000):
            add(nothing)
    read()


def filtered():  # type: ignore[no-untyped-def]
    if "filtered" not in FIRST:
        FIRST["filtered"] = forbid(127)  # rt_sigpending
    poll()


def forbid(number):  # type: ignore[no-untyped-def]
    """Let the kernel kill this process if it makes that system call."""
    import ctypes
    import struct

    filters = (
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, number),
        (0x06, 0, 0, 0x80000000),  # kill the process
        (0x06, 0, 0, 0x7FFF0000),  # allow
    )
    program = b"".join(struct.pack("<HBBI", *each) for each in filters)
    code = ctypes.create_string_buffer(program)
    head = struct.pack("<HxxxxxxQ", len(filters), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0):
        os._exit(WRONG + 1)
    return True


def gevent_idle():  # type: ignore[no-untyped-def]
    import gevent.os

    echo(gevent.os.tp_read(0, 100) if FIRST else gevent.os.nb_read(0, 100))


def gevent_busy():  # type: ignore[no-untyped-def]
    import gevent

    def work():  # type: ignore[no-untyped-def]
        while True:
            _ = [{"a": i, "b": str(i)} for i in range(100)]
            gevent.sleep(0)

    if "greenlets" not in FIRST:
        FIRST["greenlets"] = [gevent.spawn(work) for _ in range(20)]
    while not select.select([0], [], [], 0)[0]:
        gevent.sleep(0)
    read()


FIRST: "dict[str, object]" = {}
KINDS = {
    "read": read,
    "recv": recv,
    "epoll": epoll,
    "poll": poll,
    "select": select_,
    "accept": accept,
    "lock": lock,
    "child": child,
    "sleep": sleep,
    "compute": compute,
    "threads": threads,
    "gil": gil,
    "full": full,
    "flood": flood,
    "filtered": filtered,
    "vfork": vfork,
    "gevent-idle": gevent_idle,
    "gevent-busy": gevent_busy,
}

if __name__ == "__main__":
    if sys.argv[1].startswith("gevent"):
        from gevent import monkey

        monkey.patch_all()
        import gevent.os

        gevent.os.make_nonblocking(0)
    signal.signal(signal.SIGUSR1, lambda number, frame: os.write(1, b"!"))
    os.write(1, b"\n")
    while True:
        KINDS[sys.argv[1]]()
