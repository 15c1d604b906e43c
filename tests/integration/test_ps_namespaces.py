"""Workers that see other files or other pids than we do are listed and asked as well.

Made with unshare, so only root can; elsewhere these are skipped. Their /run/user is a
file system of their own, as /tmp is under systemd's PrivateTmp.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import WORKERS, Stage, Worker, eventually

PRIVATE = "mount -t tmpfs tmpfs /run/user && mkdir -m 700 /run/user/0 && exec "
MAY_UNSHARE = (
    os.geteuid() == 0
    and shutil.which("unshare") is not None
    and Path("/run/user").is_dir()
    and not subprocess.run(
        ["unshare", "-p", "-m", "-f", "--mount-proc", "true"],
        check=False,
        capture_output=True,
    ).returncode
)
pytestmark = pytest.mark.skipif(not MAY_UNSHARE, reason="needs root and unshare")

KINDS = {
    "private files": ["unshare", "-m"],
    "a container": ["unshare", "-p", "-m", "-f", "--mount-proc", "--kill-child"],
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def hidden(request: pytest.FixtureRequest, stage: Stage) -> Worker:
    program = f"{PRIVATE}{sys.executable} {WORKERS / 'plain.py'}"
    return stage.spawn_command(
        [*request.param, "sh", "-c", program], env={"LIVEHEAP_DIR": ""}
    )


def python_of(hidden: Worker) -> int:
    """Return the pid, as we know it, of what unshare has become or started."""
    children = Path(f"/proc/{hidden.pid}/task/{hidden.pid}/children").read_text()
    return int(children.split()[0]) if children.split() else hidden.pid


def is_known(row: dict) -> bool:
    """Whether it was heard and measured in time: `ps` waits for nobody for long."""
    return row["state"] == "answers" and row["uss"] is not None


def test_a_worker_in_namespaces_of_its_own_is_listed_and_asked_by_our_pid(
    hidden: Worker,
) -> None:
    pid = python_of(hidden)

    def listed() -> list[dict]:
        rows = json.loads(liveheap("ps", "--json", env=hidden.environ).stdout)
        return [row for row in rows if row["pid"] == pid and is_known(row)]

    (row,) = eventually(listed, what="the hidden worker is listed and answers")
    status = json.loads(liveheap("status", pid, "--json", env=hidden.environ).stdout)

    assert row["program"] == "plain.py"
    assert 0 < row["uss"] < row["rss"]
    assert status["program"] == row["program"]

    bridge = f"{sys.executable} -m liveheap_client bridge --pid {pid}"
    far = liveheap("status", "--via", bridge, "--json", env=hidden.environ).stdout
    assert json.loads(far)["instance"] == status["instance"]
