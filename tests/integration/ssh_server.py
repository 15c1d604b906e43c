"""A real sshd on a loopback port, with keys, a home and a client configuration.

Everything lies in one directory that goes with the test: host key, user key,
authorized_keys, known_hosts, the home in which the remote shell looks for .bashrc.
Nothing of the machine's own ssh is read or written. The server sets LIVEHEAP_DIR and
PATH for its sessions (SetEnv), as a login on a server would find them.

The client side is one ssh_config; tests hand it to liveheap as LIVEHEAP_SSH="ssh -F
FILE", so that `liveheap status box` goes through the user's ssh like any other host.
`box` is the server; `gated` is the same behind a relay that can stop in mid-transfer.
"""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from spawn import WORKERS, eventually, free_port

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
NEEDS_SSHD = pytest.mark.skipif(
    SSHD is None and os.geteuid() != 0, reason="no sshd here, and not root to add one"
)
NEEDS_BASH = pytest.mark.skipif(
    Path(pwd.getpwuid(os.getuid()).pw_shell).name != "bash",
    reason="the login shell reads no .bashrc when it runs a command",
)
ATTEMPTS = 5


@dataclass
class SshServer:
    """One listening sshd and how to get into it."""

    directory: Path
    home: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def client_config(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def user_key(self) -> Path:
        return self.directory / "user_key"

    @property
    def gate_opened(self) -> Path:
        """The FIFO on which the gate says that it let its share through."""
        return self.directory / "gate"

    def let_through(self, *shares: int) -> None:
        """Have the gate stop its next connections after so many bytes each."""
        self.gate_opened.with_name("gate.shares").write_text(" ".join(map(str, shares)))

    def environ(self, base: dict[str, str], **more: str) -> dict[str, str]:
        """Return a desk's environment: it knows ssh, and no local worker."""
        desk = self.directory / "desk"
        desk.mkdir(mode=0o700, exist_ok=True)
        return {
            **{k: v for k, v in base.items() if not k.startswith("LIVEHEAP")},
            "LIVEHEAP_SSH": f"ssh -F {self.client_config}",
            "LIVEHEAP_DIR": str(desk),
            "HOME": str(desk),
            **more,
        }

    def new_desk(self, base: dict[str, str]) -> dict[str, str]:
        """Return the environment of a desk that nobody has used; its home is short."""
        home = self.directory / f"h{len(list(self.directory.glob('h[0-9]*')))}"
        home.mkdir(mode=0o700)
        return self.environ(base, HOME=str(home))

    @contextlib.contextmanager
    def forced(self, command: str) -> Iterator[None]:
        """Let the account run nothing but a command; its own is $SSH_ORIGINAL_COMMAND.

        What stands in authorized_keys counts from the next login on.
        """
        file = self.directory / "authorized_keys"
        before = file.read_text()
        quoted = command.replace('"', '\\"')
        file.write_text(f'command="{quoted}" {before}')
        try:
            yield
        finally:
            file.write_text(before)

    def sessions(self) -> list[int]:
        """Return the pids of the processes that serve logged-in or greeting clients."""
        return descendants(self.process.pid)

    def logins(self) -> int:
        """Return how many connections the server has authenticated so far."""
        return self.log.count("Accepted publickey")

    @property
    def log(self) -> str:
        """Return what the server has logged so far."""
        return (self.directory / "sshd.log").read_text(errors="replace")

    def cut(self) -> None:
        """Kill the processes of every session at once, as a dying link would."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End the server and its sessions, and with them the clients' masters."""
        self.process.send_signal(signal.SIGSTOP)
        self.cut()
        self.process.kill()
        self.process.wait(10)


def descendants(pid: int) -> list[int]:
    """Return all children of a process and theirs, from /proc."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for children in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids = [int(word) for word in children.read_text().split()]
                found += pids
                todo += pids
    return found


@contextlib.contextmanager
def running_sshd(directory: Path, *, run_dir: Path) -> Iterator[SshServer]:
    """Start an sshd whose sessions find the agents of `run_dir`."""
    for name in ("host_key", "user_key", "stranger_key"):
        make_key(directory / name)
    home = directory / "home"
    home.mkdir(mode=0o700)
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    os.mkfifo(directory / "gate")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = listening(directory, home, run_dir)
    try:
        write_client_files(server)
        yield server
    finally:
        server.close()


def make_key(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True
    )


def listening(directory: Path, home: Path, run_dir: Path) -> SshServer:
    """Return a server that accepts connections; another port if one was taken."""
    assert SSHD is not None, "no sshd: apt-get install openssh-server"
    log = directory / "sshd.log"
    for _ in range(ATTEMPTS):
        port = free_port()
        config = directory / "sshd_config"
        config.write_text(server_config(directory, home, run_dir, port))
        log.write_bytes(b"")
        process = subprocess.Popen(
            [SSHD, "-D", "-f", str(config), "-E", str(log)],
            stdin=subprocess.DEVNULL,
        )
        eventually(
            lambda process=process, port=port: (
                process.poll() is not None or greets(port)
            ),
            what=f"sshd listens on {port}",
        )
        if process.poll() is None:
            return SshServer(directory, home, port, process)
    raise AssertionError(f"sshd did not start:\n{log.read_text()}")


def greets(port: int) -> bool:
    """Whether it serves: that it listens it does before it knows what SIGHUP means."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def server_config(directory: Path, home: Path, run_dir: Path, port: int) -> str:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 100
SetEnv LIVEHEAP_DIR={run_dir} HOME={home} PATH={path}
"""


def write_client_files(server: SshServer) -> None:
    """Write the known_hosts and the ssh_config of the desk."""
    host_key = (server.directory / "host_key.pub").read_text()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {host_key}")
    gate = f"{sys.executable} {WORKERS / 'ssh_gate.py'} {server.gate_opened}"
    server.client_config.write_text(
        f"""
Host gated
    ProxyCommand {gate} 127.0.0.1 {server.port}
Host box gated
    HostName 127.0.0.1
    Port {server.port}
    User {getpass.getuser()}
    IdentityFile {server.user_key}
    IdentitiesOnly yes
    IdentityAgent none
    HostKeyAlias [127.0.0.1]:{server.port}
    UserKnownHostsFile {server.known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""
    )
