"""Ways in without touching the program: `site/sitecustomize.py` and the .pth line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agent_host import Host
from spawn import Stage, eventually

from liveheap import boot
from liveheap.hosts import command_line

SITE = Path(boot.__file__).parent / "site"
HOST = Path(__file__).parent / "workers" / "agent_host.py"
OTHER_OPTIONS = ["-s", "-B", "-Xdev", "-Wignore"]
if sys.version_info >= (3, 11):
    OTHER_OPTIONS.append("-P")
SHOW = """
import json, sys
print(json.dumps({
    "path": sys.path,
    "mark": getattr(sys, "mark", None),
    "agent": "liveheap.agent.start" in sys.modules,
    "site": getattr(sys.modules.get("sitecustomize"), "__file__", None),
}))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}
    return {**kept, "LIVEHEAP_DIR": str(run_dir), "HOME": str(tmp_path)}


def under_run(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment as `liveheap run` makes it."""
    places = [str(SITE), *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(places)}


def show(environ: dict[str, str], *options: str) -> dict:
    done = subprocess.run(
        [sys.executable, *options, "-c", SHOW],
        env=environ,
        capture_output=True,
        check=True,
        text=True,
        cwd="/",
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_agent_starts_and_the_path_is_as_without_us(environ):
    plain, started = show(environ), show(under_run(environ))
    assert started["agent"]
    assert started["path"] == plain["path"]


def test_the_sitecustomize_behind_ours_still_runs(environ, tmp_path):
    shadowed = tmp_path / "theirs"
    shadowed.mkdir()
    (shadowed / "sitecustomize.py").write_text("import sys; sys.mark = 'theirs'\n")
    places = [str(shadowed), *filter(None, [environ.get("PYTHONPATH")])]
    environ["PYTHONPATH"] = os.pathsep.join(places)
    plain, started = show(environ), show(under_run(environ))
    assert started["agent"]
    assert started["mark"] == plain["mark"] == "theirs"
    assert started["path"] == plain["path"]
    assert started["site"] == plain["site"]


def test_a_sitecustomize_that_fails_fails_as_without_us(environ, tmp_path):
    shadowed = tmp_path / "theirs"
    shadowed.mkdir()
    (shadowed / "sitecustomize.py").write_text("import no_such_module\n")
    places = [str(shadowed), *filter(None, [environ.get("PYTHONPATH")])]
    environ["PYTHONPATH"] = os.pathsep.join(places)
    said = [
        subprocess.run(
            [sys.executable, "-c", "pass"],
            env=each,
            capture_output=True,
            check=False,
            text=True,
        )
        for each in (environ, under_run(environ))
    ]
    assert said[0].returncode == said[1].returncode
    assert "no_such_module" in said[0].stderr
    assert "no_such_module" in said[1].stderr


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_isolated_interpreters_are_left_alone(option, environ):
    assert not show(under_run(environ), option)["agent"]


@pytest.mark.parametrize("option", OTHER_OPTIONS)
def test_other_options_do_not_keep_the_agent_out(option, environ):
    assert show(under_run(environ), option)["agent"]


def test_the_kill_switch_works_here_too(environ):
    assert not show(under_run({**environ, "LIVEHEAP": "0"}))["agent"]


def test_an_interpreter_that_lacks_liveheap_goes_on(environ, tmp_path):
    done = subprocess.run(
        [sys.executable, "-s", "-c", "print('goes on')"],
        env={
            **environ,
            "PYTHONPATH": str(SITE),
            "PYTHONHOME": "",
            "LIVEHEAP_ONLY": "nobody",
        },
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "goes on\n"


def test_a_spawned_process_of_a_host_has_an_agent_of_its_own(stage: Stage):
    worker = stage.spawn_command(
        [sys.executable, str(HOST), "plain"], env=under_run({**os.environ})
    )
    host = Host(worker)
    child = host.do(
        """
import subprocess
CHILD = subprocess.Popen(
    [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
)
answer = CHILD.pid
"""
    )
    with host.connect(child) as client:
        facts = client.request("status").as_dict()
    assert (facts["pid"], facts["kind"]) == (child, "app")
    host.do("CHILD.communicate()")
    eventually(lambda: not worker.sockets(child), what="the child's name is gone")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["/srv/app/worker.py"], True),
        (["celery", "-A", "shop", "worker", "-n", "status@host"], True),
        (["/venv/bin/celery", "-A", "shop", "call", "tasks.worker"], False),
        (["celery", "inspect", "active"], False),
        (["manage.py", "runserver"], True),
        (["manage.py", "migrate"], False),
        (["django-admin", "shell"], False),
        (["manage.py", "consume_orders"], True),
        (["/venv/bin/pip", "install", "x"], False),
        (["/usr/lib/python3/pip/__main__.py", "install"], False),
        (["gunicorn", "shop.wsgi", "-k", "gevent"], True),
        (["rq", "worker"], True),
        (["rq", "info"], False),
        (["-c", "from multiprocessing.spawn import spawn_main; spawn_main(4)"], True),
        (["-c", "from multiprocessing.resource_tracker import main;main(5)"], False),
        (["/venv/bin/liveheap", "ps"], False),
        ([], True),
    ],
)
def test_helper_commands_get_no_agent(words, wanted):
    assert boot.wanted({}, words) is wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from multiprocessing.spawn import spawn_main; spawn_main(4)", True),
        ("import rq\nworker.main_work_horse(job, queue)", True),
        ("from multiprocessing.forkserver import main; main(3, 4)", False),
        ("print(1)", False),
    ],
)
def test_a_child_in_an_interpreter_of_its_own_is_no_master(text, expected):
    assert command_line.does_work(["-c", text]) is expected
    assert not command_line.does_work(["/srv/app.py", text])


def test_a_child_of_multiprocessing_is_called_by_its_parents_name(monkeypatch):
    spawned = ["python3", "-c", "from multiprocessing.spawn import spawn_main; f(3)"]
    monkeypatch.setattr(sys, "orig_argv", [*spawned, "--multiprocessing-fork"])
    monkeypatch.setattr(sys, "argv", ["-c", "--multiprocessing-fork"])
    assert command_line.program(command_line.read()) == "python"
    monkeypatch.setattr(sys, "argv", ["/srv/bin/uvicorn", "shop:app", "--workers=2"])
    assert command_line.program(command_line.read()) == "uvicorn"


def test_only_the_named_programs_get_an_agent():
    environ = {"LIVEHEAP_ONLY": "celery, app.py"}
    assert boot.wanted(environ, ["/srv/app.py"])
    assert boot.wanted(environ, ["celery", "inspect"])
    assert not boot.wanted(environ, ["gunicorn"])


def test_the_pth_line_starts_only_where_it_was_asked_for(environ, tmp_path):
    line = (SITE.parent / "liveheap.pth").read_text()
    code = f"import sys; exec({line!r}); print('liveheap.agent.start' in sys.modules)"
    for value, expected in (("1", "True"), ("0", "False"), (None, "False")):
        chosen = environ if value is None else {**environ, "LIVEHEAP": value}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=chosen,
            capture_output=True,
            check=True,
            text=True,
        )
        assert (done.stdout.strip(), done.stderr) == (expected, "")


@pytest.mark.parametrize("option", ["-s", "-I", "-E", "-S"])
def test_the_installed_pth_reaches_isolated_interpreters_too(option, environ):
    environ.pop("PYTHONPATH", None)
    shown = show({**environ, "LIVEHEAP": "1"}, option)
    assert shown["agent"] is (option != "-S")
    assert not show(environ, option)["agent"]
