"""The role of a process, told by where its main thread stands."""

import sys
from types import FrameType

import pytest

from liveheap.hosts import roles

SITE = "/venv/lib/python3.12/site-packages"


def frame_in(*places: tuple[str, str]) -> FrameType:
    """Return the innermost frame of calls in these files, outermost first."""
    call = sys._getframe
    for file, function in reversed(places):
        scope = {"call": call}
        exec(
            compile(f"def {function}(): return call()", f"{SITE}/{file}", "exec"), scope
        )
        call = scope[function]
    return call()


def role_of(
    *places: tuple[str, str],
    kind: str = "app",
    framework: str | None = None,
    pool: str | None = None,
) -> str:
    frame = frame_in(*places) if places else None
    return roles.role(frame, kind=kind, framework=framework, pool=pool)


ARBITER = ("gunicorn/arbiter.py", "run")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([ARBITER], "master"),
        ([ARBITER, ("gunicorn/arbiter.py", "spawn_worker")], "worker"),
        ([ARBITER, ("gunicorn/dirty/arbiter.py", "run")], "dirty arbiter"),
        (
            [
                ARBITER,
                ("gunicorn/dirty/arbiter.py", "run"),
                ("gunicorn/dirty/worker.py", "run"),
            ],
            "dirty worker",
        ),
        (
            [("celery/worker/worker.py", "start"), ("billiard/pool.py", "workloop")],
            "worker",
        ),
        ([("rq/worker/base.py", "work")], "master"),
        (
            [("rq/worker/base.py", "work"), ("rq/worker/base.py", "main_work_horse")],
            "job",
        ),
        ([("rq/worker.py", "work")], "master"),
        ([("multiprocessing/process.py", "_bootstrap")], "worker"),
        (
            [("multiprocessing/process.py", "_bootstrap"), ("app.py", "run")],
            "worker",
        ),
        ([("app.py", "run"), ("app.py", "work")], "master"),
    ],
)
def test_the_innermost_place_that_is_known_tells_the_role(places, expected):
    assert role_of(*places, kind="master") == expected


@pytest.mark.parametrize(
    ("pool", "expected"), [("prefork", "master"), ("solo", "worker")]
)
def test_celerys_main_process_is_a_master_only_of_a_pool_that_forks(pool, expected):
    place = ("celery/worker/worker.py", "start")
    assert role_of(place, framework="celery", pool=pool) == expected


@pytest.mark.parametrize(
    ("kind", "framework", "expected"),
    [
        ("app", None, "app"),
        ("child", None, "child"),
        ("app", "celery+gevent", "worker"),
        ("child", "gunicorn+gevent", "worker"),
        ("master", "gunicorn+gevent", "master"),
        ("master", "celery+gevent", "worker"),
        ("app", "gevent", "app"),
        ("master", "eventlet", "master"),
    ],
)
def test_a_stack_that_says_nothing_leaves_it_to_the_kind(kind, framework, expected):
    assert role_of(kind=kind, framework=framework) == expected


def test_a_web_server_that_sends_jobs_is_a_web_server(monkeypatch):
    from liveheap.hosts import frameworks

    for module, _ in (*frameworks.SIGNS, *frameworks.LOOPS):  # of tests before this
        monkeypatch.delitem(sys.modules, module, raising=False)
    for module in ("gunicorn.arbiter", "rq.worker", "huey.consumer"):
        monkeypatch.setitem(sys.modules, module, sys)
    assert frameworks.framework() == "gunicorn"


def test_the_pool_is_told_by_what_is_loaded(monkeypatch):
    assert roles.pool() is None
    monkeypatch.setitem(sys.modules, "gunicorn.workers.gthread", sys)
    assert roles.pool() == "gthread"
