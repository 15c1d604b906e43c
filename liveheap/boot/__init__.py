"""Start the agent in a program whose code nobody touches.

Two ways in, both before the program's first line:

- `liveheap run -- CMD` puts `site/` beside this file at the front of PYTHONPATH; the
  `sitecustomize.py` there calls `begin`, takes the folder off `sys.path` again, and
  runs the sitecustomize that it shadows. PYTHONPATH stays, so that every Python
  process which CMD starts is reached too.
- `liveheap.pth`, installed beside the package, calls `begin` where LIVEHEAP=1 is set:
  for images; it works under `python -I` and `-E` as well.

Both reach helper commands too (`pip`, `celery call`, `manage.py migrate`), which are
over before anybody could ask them: those are skipped by name. `LIVEHEAP_ONLY` names
the programs to start in, and nothing else then does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import liveheap
from liveheap.hosts import command_line

HELPERS = frozenset(
    {
        "compileall",
        "coverage",
        "easy_install",
        "ensurepip",
        "liveheap",
        "liveheap_client",
        "mypy",
        "pip",
        "pip3",
        "poetry",
        "py_compile",
        "ruff",
        "tox",
        "twine",
        "uv",
        "venv",
        "virtualenv",
    }
)
CELERY_HELPERS = """
    amqp call control graph inspect list logtool migrate multi purge report result
    shell status upgrade
"""
DJANGO_HELPERS = """
    check collectstatic compilemessages createcachetable createsuperuser dbshell
    diffsettings dumpdata flush inspectdb loaddata makemessages makemigrations
    migrate sendtestemail shell showmigrations sqlflush sqlmigrate startapp
    startproject test testserver
"""
HELPING_SUBCOMMANDS = {
    "celery": frozenset(CELERY_HELPERS.split()),
    "django-admin": frozenset(DJANGO_HELPERS.split()),
    "manage.py": frozenset(DJANGO_HELPERS.split()),
    "flask": frozenset({"db", "routes", "shell"}),
    "rq": frozenset({"cron", "empty", "enqueue", "info", "requeue", "resume"}),
}
RESOURCE_TRACKER = "multiprocessing.resource_tracker"


def begin() -> None:
    """Start the agent, unless this is a helper command. Raises nothing."""
    try:
        if wanted(os.environ, command_line.read()):
            liveheap.start()
    except Exception:
        return


def wanted(environ: Mapping[str, str], words: list[str]) -> bool:
    """Whether an agent belongs into the program with this command line."""
    if environ.get("LIVEHEAP") == "0":
        return False
    name = command_line.name(words)
    only = environ.get("LIVEHEAP_ONLY", "").replace(",", " ").split()
    if only:
        return name in only
    if name in HELPERS or RESOURCE_TRACKER in " ".join(words[:2]):
        return False
    helping = HELPING_SUBCOMMANDS.get(name, frozenset())
    decisive = helping | command_line.SUBCOMMANDS
    first = next((word for word in words[1:] if word in decisive), None)
    return first not in helping
