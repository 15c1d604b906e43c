"""Which part this process plays in its host, and what kind of pool it belongs to.

Told by where the main thread stands: a master and its worker run the same program with
the same modules, but the one is in the arbiter's loop and the other in the worker's.
Only file and function names of the frames are read. A main thread in gevent's hub shows
nothing of that: then it is told by whether this process was forked, or has forked.

The innermost line of the table that the stack holds is the answer, because a forked
child's stack begins with its parent's.
"""

from __future__ import annotations

import sys
from types import FrameType

from liveheap.hosts import command_line, frameworks

WORKER, MASTER = "worker", "master"
# The end of a file's name, the function in it, the role. None: see `POOL_FORKS`.
STACKS: dict[str, dict[str, str | None]] = {
    "billiard/pool.py": {"workloop": WORKER},
    "celery/worker/worker.py": {"start": None},
    "celery/bin/beat.py": {"beat": "scheduler"},
    "gunicorn/dirty/worker.py": {"run": "dirty worker"},
    "gunicorn/dirty/arbiter.py": {"run": "dirty arbiter"},
    "gunicorn/arbiter.py": {"spawn_worker": WORKER, "run": MASTER},
    "rq/worker/base.py": {"main_work_horse": "job", "work": MASTER},
    "rq/worker.py": {"main_work_horse": "job", "work": MASTER},
    "dramatiq/cli.py": {
        "worker_process": WORKER,
        "fork_process": "helper",
        "main": MASTER,
    },
    "huey/consumer.py": {"_run": WORKER},
    "uvicorn/supervisors/multiprocess.py": {"run": MASTER},
    "uvicorn/supervisors/basereload.py": {"run": MASTER},
    "uvicorn/_subprocess.py": {"subprocess_started": WORKER},
    "mrq/supervisor.py": {"work": MASTER},
    "multiprocessing/forkserver.py": {"main": "forkserver"},
    "multiprocessing/process.py": {"_bootstrap": WORKER},
    "multiprocessing/spawn.py": {"spawn_main": WORKER},
}
# Modules that only a process with this kind of pool has loaded; the first counts.
POOLS = (
    ("celery.concurrency.prefork", "prefork"),
    ("celery.concurrency.gevent", "gevent"),
    ("celery.concurrency.eventlet", "eventlet"),
    ("celery.concurrency.thread", "threads"),
    ("celery.concurrency.solo", "solo"),
    ("uvicorn.workers", "asgi"),
    ("uvicorn_worker", "asgi"),
    ("gunicorn.workers.gasgi", "asgi"),
    ("gunicorn.workers.ggevent", "gevent"),
    ("gunicorn.workers.geventlet", "eventlet"),
    ("gunicorn.workers.gthread", "gthread"),
    ("gunicorn.workers.gtornado", "tornado"),
    ("gunicorn.workers.sync", "sync"),
)
POOL_FORKS = "prefork"
LOOPS = (None, "gevent", "eventlet")
DEEPEST = 5000


def facts(main_ident: int, kind: str) -> dict[str, str | None]:
    """Return what this process is, as far as it shows now: program, role, pool."""
    framework, its_pool = frameworks.framework(), pool()
    stands = sys._current_frames().get(main_ident)
    return {
        "program": command_line.program(command_line.read()),
        "kind": kind,
        "role": role(stands, kind=kind, framework=framework, pool=its_pool),
        "pool": its_pool,
        "framework": framework,
    }


def pool() -> str | None:
    """Return the kind of pool, by the modules that are loaded; None if unknown."""
    return next((name for module, name in POOLS if module in sys.modules), None)


def role(
    frame: FrameType | None, *, kind: str, framework: str | None, pool: str | None
) -> str:
    """Return the role, by the main thread's frame if that tells, else by the kind."""
    for _ in range(DEEPEST):
        if frame is None:
            break
        code = frame.f_code
        found = at(code.co_filename, code.co_name, pool)
        if found is not None:
            return found
        frame = frame.f_back
    if framework in LOOPS:
        return kind
    is_alone = framework is not None and framework.startswith("celery")
    forks = kind == MASTER and not (is_alone and pool != POOL_FORKS)
    return MASTER if forks else WORKER


def at(file: str, function: str, pool: str | None) -> str | None:
    """Return the role of whoever runs this function."""
    words = file.rsplit("/", 3)
    for length in (2, 3):
        functions = STACKS.get("/".join(words[-length:]), {})
        if function in functions:
            found = functions[function]
            return found or (MASTER if pool == POOL_FORKS else WORKER)
    return None
