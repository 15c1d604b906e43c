"""The hosts of the matrix: how each is started, fed, renewed and ended.

A host that cannot run on some Python is still here; its cell says why not. In a
command, `{bin}` is the environment's folder of programs, `{apps}` the folder `apps/`,
`{socket}` a path for HTTP and `{redis}` the broker's address.
"""

from __future__ import annotations

from dataclasses import dataclass

CELERY = (
    "{bin}/celery",
    "-A",
    "shop",
    "--workdir",
    "{apps}",
    "worker",
    "-l",
    "warning",
)
GUNICORN = ("{bin}/gunicorn", "--chdir", "{apps}", "--bind", "unix:{socket}")
UVICORN = ("{bin}/uvicorn", "--app-dir", "{apps}", "--uds", "{socket}")
RQ = ("{bin}/rq", "worker", "--url", "{redis}", "--path", "{apps}", "--quiet")
HUEY = ("{bin}/huey_consumer", "chores.huey", "-q", "-d", "0.05", "-w", "8")

HUP = "SIGHUP"  # the host reloads: other children, or itself executed anew
EACH = "each task"  # a child ends after its task and another one comes
CRASH = "SIGKILL of a child"

PREFORKED = ("master", "worker")
MASTERLESS = {"masterless": True, "env": (("LIVEHEAP_MASTER", "0"),)}


@dataclass(frozen=True, slots=True)
class Host:
    """One row of the table."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()  # distributions
    feed: str = "order"  # "http", "order" (a file), or what send.py knows
    tasks: int = 8
    renewals: tuple[str, ...] = ()
    kind: str = "task"  # of the label
    env: tuple[tuple[str, str], ...] = ()
    exit_codes: tuple[int, ...] = (0,)
    roles: tuple[str, ...] = ("worker",)  # of its processes
    masterless: bool = False  # the first process has no agent
    burst: int = 0  # jobs that are over at once, one process each
    environment: str = ""  # of its own, where its needs clash with others'
    newest: str = ""  # the last CPython on which it can run
    too_new: str = ""  # why
    remark: str = ""  # what its "yes" leaves out

    @property
    def needs_broker(self) -> bool:
        return self.feed not in ("http", "order")


def celery(name: str, *words: str, needs: tuple[str, ...] = (), **more: object) -> Host:
    """Return a Celery worker, of eight tasks unless it is said otherwise."""
    settings = {"tasks": 8, "renewals": (HUP,), **more}
    return Host(
        f"Celery {name}",
        (*CELERY, *words),
        ("celery", "redis", *needs),
        "celery",
        kind="celery",
        **settings,  # type: ignore[arg-type]
    )


def gunicorn(
    name: str, *words: str, needs: tuple[str, ...] = (), **more: object
) -> Host:
    """Return a gunicorn with eight requests at once."""
    settings = {"renewals": (HUP, CRASH), "roles": PREFORKED, **more}
    return Host(
        f"gunicorn {name}",
        (*GUNICORN, *words),
        ("gunicorn", *needs),
        "http",
        kind="request",
        **settings,  # type: ignore[arg-type]
    )


def huey(kind: str, **more: object) -> Host:
    """Return a huey consumer with eight workers of a kind."""
    return Host(
        f"huey {kind}",
        (*HUEY, "-k", kind),
        ("huey", "redis", *(("gevent",) if kind == "greenlet" else ())),
        "huey",
        kind="huey",
        renewals=(HUP,),
        **more,  # type: ignore[arg-type]
    )


def mrq(name: str, *words: str, **more: object) -> Host:
    """Return an MRQ worker with twelve greenlets."""
    return Host(
        name,
        ("{bin}/mrq-worker", "--config", "{apps}/mrq_config.py", *words, "parcels_raw"),
        ("mrq", "redis", "gevent", "mongomock"),
        "mrq",
        kind="mrq",
        environment="mrq",
        newest="3.12",
        too_new="MRQ imports pipes, which CPython has no more",
        **more,  # type: ignore[arg-type]
    )


def uvicorn(name: str, *words: str, **more: object) -> Host:
    """Return a uvicorn."""
    return Host(
        name,
        (*UVICORN, *words, "asgi_site:application"),
        ("uvicorn",),
        "http",
        kind="request",
        **more,  # type: ignore[arg-type]
    )


def pool(method: str, *roles: str) -> Host:
    """Return a multiprocessing pool whose children end after each task."""
    return Host(
        f"multiprocessing {method}",
        ("{bin}/python", "{apps}/pool.py", method, "8"),
        renewals=(EACH,),
        roles=roles,
    )


def script(kind: str, *needs: str) -> Host:
    """Return a plain program."""
    return Host(
        f"script, {kind}",
        ("{bin}/python", "{apps}/script.py", kind),
        needs,
        renewals=(HUP,),
        roles=("app",),
    )


HOSTS = (
    celery(
        "prefork",
        *("-P", "prefork", "-c", "8", "--max-tasks-per-child", "1"),
        renewals=(EACH, HUP, CRASH),
        roles=PREFORKED,
    ),
    celery(
        "prefork, LIVEHEAP_MASTER=0",
        *("-P", "prefork", "-c", "8"),
        renewals=(HUP,),
        **MASTERLESS,
    ),
    celery("gevent", "-P", "gevent", "-c", "12", needs=("gevent",)),
    celery("eventlet", "-P", "eventlet", "-c", "12", needs=("eventlet",)),
    celery("threads", "-P", "threads", "-c", "8"),
    celery("solo", "-P", "solo", tasks=1),
    gunicorn("sync", "-w", "8", "wsgi_site"),
    gunicorn("gthread", "-k", "gthread", "-w", "2", "--threads", "8", "wsgi_site"),
    gunicorn("gevent", "-k", "gevent", "-w", "2", "wsgi_site", needs=("gevent",)),
    gunicorn(
        "gevent, preload",
        *("-k", "gevent", "-w", "2", "--preload", "wsgi_site"),
        needs=("gevent",),
    ),
    gunicorn("sync, reload", "-w", "8", "--reload", "wsgi_site"),
    gunicorn(
        "gthread, dirty workers",
        *("-k", "gthread", "--threads", "8", "--dirty-workers", "1"),
        *("--dirty-app", "dirty_app:Idle", "wsgi_site"),
        roles=(*PREFORKED, "dirty arbiter", "dirty worker"),
    ),
    uvicorn("uvicorn", exit_codes=(-15,)),  # it raises the signal again in the end
    uvicorn(
        "uvicorn, 2 workers",
        *("--workers", "2"),
        renewals=(HUP, CRASH),
        roles=PREFORKED,
    ),
    uvicorn(
        "uvicorn, 2 workers, LIVEHEAP_MASTER=0",
        *("--workers", "2"),
        renewals=(HUP,),
        **MASTERLESS,
    ),
    Host(
        "RQ Worker",
        RQ,
        ("rq", "redis"),
        "rq",
        tasks=1,
        kind="rq",
        renewals=(EACH,),
        burst=100,
        roles=("master", "job"),
    ),
    Host(
        "RQ SpawnWorker",
        (*RQ, "--worker-class", "rq.worker.SpawnWorker"),
        ("rq", "redis"),
        "rq",
        tasks=1,
        kind="rq",
        renewals=(EACH,),
        roles=("master", "job"),
    ),
    Host(
        "dramatiq",
        ("{bin}/dramatiq", "--path", "{apps}", "-p", "2", "-t", "4", "actors"),
        ("dramatiq", "redis"),
        "dramatiq",
        kind="dramatiq",
        renewals=(HUP,),
        env=(("dramatiq_queue_prefetch", "4"),),
        roles=PREFORKED,
    ),
    mrq("MRQ"),
    mrq(
        "MRQ, 2 processes",
        *("--processes", "2"),
        roles=PREFORKED,
        remark="no child is killed: also without an agent its supervisor ends then, "
        "for gevent has reaped the child that it looks for",
    ),
    huey("process", roles=PREFORKED),
    huey("thread"),
    huey(
        "greenlet",
        env=(("MATRIX_PATCH", "gevent"), ("PYTHONWARNINGS", "ignore::RuntimeWarning")),
    ),
    pool("fork", *PREFORKED),
    pool("spawn", "app", "worker"),
    pool("forkserver", "app", "forkserver", "worker"),
    script("threads"),
    Host(
        "script, under memray",
        (
            "{bin}/memray",
            "run",
            "-q",
            "-o",
            "memray.bin",
            "{apps}/script.py",
            "threads",
        ),
        ("memray",),
        roles=("app",),
    ),
    script("asyncio"),
    script("gevent", "gevent"),
    script("gevent-late", "gevent"),
    script("eventlet", "eventlet"),
)


def named(word: str) -> list[Host]:
    """Return the host of that name, else those whose names begin so."""
    exact = [host for host in HOSTS if slug(host) == word.lower()]
    return exact or [host for host in HOSTS if slug(host).startswith(word.lower())]


def slug(host: Host) -> str:
    """Return the host's name as an argument: `celery-prefork`."""
    words = host.name.lower().replace(",", "").split()
    return "-".join(words)
