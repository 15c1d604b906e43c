"""Which framework runs the worker, told by the modules that are loaded."""

from __future__ import annotations

import sys

# The module that only a running server or worker of this framework has loaded, and
# the framework's name; what is more telling comes first. Who only sends jobs has rq and
# huey loaded as well: so a web server goes before them.
SIGNS = (
    ("mrq.worker", "mrq"),
    ("celery.worker", "celery"),
    ("dramatiq.cli", "dramatiq"),
    ("gunicorn.arbiter", "gunicorn"),
    ("uvicorn.server", "uvicorn"),
    ("rq.worker", "rq"),
    ("huey.consumer", "huey"),
    ("uwsgi", "uwsgi"),
    ("django.core.handlers", "django"),
    ("flask.app", "flask"),
)
LOOPS = (("gevent.hub", "gevent"), ("eventlet.hubs", "eventlet"))


def framework() -> str | None:
    """Return for instance `celery+gevent`, `gunicorn`, `gevent`; None if unknown."""
    found = [name for module, name in SIGNS if module in sys.modules][:1]
    found += [name for module, name in LOOPS if module in sys.modules][:1]
    return "+".join(found) or None
