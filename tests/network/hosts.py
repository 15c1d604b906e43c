"""Machines made of namespaces: each its own network, processes, name, /tmp, /run, home.

A machine lives as long as its first process, which dies with the test run whatever
becomes of that, and everything on the machine with it: processes, files, interfaces. A
`Wire` is a switch, itself a machine, into whose ports machines are plugged; unplugging
takes the port down, as a cable does, and says nothing to either end. Addresses mean
something on their wire alone, so nothing here can meet the network of the real machine.

Files of a machine are reached from outside as `machine.path(...)`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest
from spawn import eventually

TESTS = Path(__file__).parents[1]
FIRST = Path(__file__).with_name("machine.py")
HOME = str(Path.home())
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
DEADLINE_S = 120.0
UNSHARED = ("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="machines of namespaces are made by root"
)


class Machine:
    """One machine; `close` ends everything on it."""

    def __init__(self, name: str, *, shown: Sequence[Path] = ()) -> None:
        self.name = name
        self.address = ""
        self.venv = Path(sys.prefix)
        folders = {str(TESTS), sys.prefix, sys.base_prefix, *map(str, shown)}
        self._starter = subprocess.Popen(
            [
                *DIES_WITH_US,
                "unshare",
                *UNSHARED,
                sys.executable,
                str(FIRST),
                name,
                *sorted(folders),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._starter.stdout
        if self._starter.stdout.readline() != b"up\n":
            _, said = self._starter.communicate()
            raise AssertionError(f"no machine {name}: {said.decode()}")
        children = Path(f"/proc/{self._starter.pid}/task/{self._starter.pid}/children")
        self.pid = int(children.read_text().split()[0])

    def path(self, place: str) -> Path:
        """Return a place of this machine, as the test's own process reaches it."""
        return Path(f"/proc/{self.pid}/root{place}")

    def command(self, *words: object) -> list[str]:
        """Return what runs a command here."""
        spaces = ["-n", "-m", "-p", "-u", "-i"]
        entering = ["nsenter", "-t", str(self.pid), *spaces, "--wd=/", "--"]
        return [*entering, *map(str, words)]

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of somebody who logs in here."""
        path = f"{self.venv}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": HOME, "LANG": "C.UTF-8", **more}

    def start(self, *words: object, **options: Any) -> "subprocess.Popen[str]":
        """Start a command here, which ends when it is killed from outside."""
        env = self.environ(**options.pop("env", {}))
        piped = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        options = {"stdin": subprocess.DEVNULL, **piped, **options}
        command = self.command(*DIES_WITH_US, *words)
        return subprocess.Popen(command, env=env, text=True, **options)

    def run(
        self,
        *words: object,
        expect: int | None = 0,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command here; check its exit code, unless `expect` is None."""
        done = subprocess.run(
            self.command(*words),
            env=self.environ(**(env or {})),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        told = f"{self.name}: {words}: exit {done.returncode}, expected {expect}\n"
        told += f"{done.stdout}\n{done.stderr}"
        assert expect is None or done.returncode == expect, told
        assert "Traceback" not in done.stderr, told
        return done

    def liveheap(
        self, *words: object, **how: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run `liveheap` here."""
        return self.run(self.venv / "bin" / "liveheap", *words, **how)

    def workers(self) -> list[dict[str, Any]]:
        """Return what `ps` lists here."""
        listed: list[dict[str, Any]] = json.loads(self.liveheap("ps", "--json").stdout)
        return listed

    def processes(self) -> list[str]:
        """Return the command lines of all that runs here, the first process aside."""
        here = Path(f"/proc/{self.pid}/ns/pid").stat().st_ino
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (
                    int(path.name) == self.pid
                    or (path / "ns/pid").stat().st_ino != here
                ):
                    continue
                line = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if line:  # a zombie has none
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        return sorted(found)

    def files(self) -> list[str]:
        """Return all files and sockets in the places that are this machine's own."""
        found: list[str] = []
        for place in ("/tmp", "/run", "/var/tmp", HOME):
            top = self.path(place)
            for folder, inner, names in os.walk(top):
                inner[:] = [
                    each for each in inner if not os.path.ismount(f"{folder}/{each}")
                ]
                found += [f"{folder}/{name}" for name in names]
        return sorted(each.removeprefix(str(self.path("/"))) for each in found)

    def reaches(self, address: str, port: int) -> bool:
        """Whether anybody accepts connections there, seen from here."""
        there = "import socket, sys; s = socket.socket(); s.settimeout(5)"
        program = f"{there}; sys.exit(s.connect_ex({(address, port)}) != 0)"
        return self.run(sys.executable, "-c", program, expect=None).returncode == 0

    def seen(self) -> str:
        """Return what runs here, waiting for what, and all connections: a report."""
        shown = ("pid,ppid,stat,wchan:24,etimes,args",)
        looks = (("ps", "-eo", *shown), ("ss", "-tanop"), ("ip", "neigh"))
        said = [self.run(*words, expect=None).stdout.rstrip() for words in looks]
        return "\n".join([f"--- {self.name}", *said])

    def received(self) -> int:
        """Return how many bytes have come in over its wires so far."""
        lines = Path(f"/proc/{self.pid}/net/dev").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "wire" in line)

    def close(self) -> None:
        """End the machine and all that runs on it."""
        os.kill(self.pid, signal.SIGKILL)
        self._starter.communicate()
        eventually(
            lambda: not Path(f"/proc/{self.pid}/ns").exists() or is_gone(self.pid),
            what=f"machine {self.name} is gone",
        )


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


class Wire:
    """A switch with its own range of addresses."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._machine = Machine(f"switch-{number}")
        self._ports: dict[str, str] = {}
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("link", "set", "bridge", "up")

    def join(self, machine: Machine) -> str:
        """Plug a machine in; return the address that it has on this wire."""
        port, end = f"port{len(self._ports)}", f"wire{self._number}"
        pair = ("type", "veth", "peer", "name", end, "netns", str(machine.pid))
        self._ip("link", "add", port, *pair)
        self._ip("link", "set", port, "master", "bridge", "up")
        self._ports[machine.name] = port
        machine.address = f"10.99.{self._number}.{len(self._ports)}"
        machine.run("ip", "address", "add", f"{machine.address}/24", "dev", end)
        machine.run("ip", "link", "set", end, "up")
        return machine.address

    def unplug(self, machine: Machine) -> None:
        """Pull the cable."""
        self._ip("link", "set", self._ports[machine.name], "down")

    def plug(self, machine: Machine) -> None:
        """Put the cable back."""
        self._ip("link", "set", self._ports[machine.name], "up")

    def slow_down(self, machine: Machine, mbit: int) -> None:
        """Let no more than so much a second reach a machine."""
        shape = ("tbf", "rate", f"{mbit}mbit", "burst", "32kbit", "latency", "400ms")
        self._net(
            "tc", "qdisc", "replace", "dev", self._ports[machine.name], "root", *shape
        )

    def close(self) -> None:
        self._machine.close()

    def _ip(self, *words: str) -> None:
        self._net("ip", *words)

    def _net(self, *words: str) -> None:
        """Run in the switch's network, but with our own process ids."""
        command = ["nsenter", "-t", str(self._machine.pid), "-n", "--", *words]
        subprocess.run(command, check=True, capture_output=True)


class Sshd:
    """An ssh server on a machine, and the way to log in there from another."""

    def __init__(self, machine: Machine) -> None:
        assert SSHD is not None, "no sshd: apt-get install openssh-server"
        self.machine = machine
        self._keys = 0
        machine.path("/run/sshd").mkdir(exist_ok=True)
        self.folder = machine.path("/run/ssh")
        self.folder.mkdir(mode=0o700)
        self.process: subprocess.Popen[str] | None = None
        self.replace_key()

    def replace_key(self) -> None:
        """Give the host a new key, as a host set up anew has."""
        self._keys += 1
        key = f"/run/ssh/host{self._keys}"
        self.machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        env = self.machine.environ()
        self.folder.joinpath("config").write_text(
            f"Port 22\nListenAddress 0.0.0.0\nHostKey {key}\nPidFile none\n"
            "AuthorizedKeysFile /run/ssh/authorized\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nPrintMotd no\nMaxStartups 100\n"
            f"SetEnv PATH={env['PATH']} HOME={HOME}\n"
        )
        self.restart()

    def restart(self) -> None:
        """End the server and all of its sessions, and start it again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.machine.run("pkill", "-KILL", "sshd", expect=None)
        log = self.folder / "log"
        log.write_text("")
        words = (SSHD, "-D", "-f", "/run/ssh/config", "-E", "/run/ssh/log")
        self.process = self.machine.start(
            *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: "listening on" in log.read_text(), what="sshd listens")

    def close(self) -> None:
        """End the server; what it serves ends with the machine."""
        if self.process is not None:
            self.machine.run("pkill", "-KILL", "sshd", expect=None)
            self.process.kill()
            self.process.wait(20)

    def invite(self, guest: Machine, *, jump: str | None = None) -> None:
        """Let somebody at another machine log in here by this machine's name."""
        ssh = guest.path(f"{HOME}/.ssh")
        ssh.mkdir(mode=0o700, exist_ok=True)
        key = ssh / "id_ed25519"
        if not key.exists():
            place = f"{HOME}/.ssh/id_ed25519"
            guest.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place)
        with self.folder.joinpath("authorized").open("a") as authorized:
            authorized.write(key.with_suffix(".pub").read_text())
        with (ssh / "config").open("a") as config:
            config.write(
                f"Host {self.machine.name}\n  HostName {self.machine.address}\n"
                f"  HostKeyAlias {self.machine.name}\n  StrictHostKeyChecking yes\n"
                "  User root\n" + (f"  ProxyJump {jump}\n" if jump else "")
            )
        self.make_known(guest)

    def make_known(self, guest: Machine) -> None:
        """Have another machine know this one by the key that it has now."""
        known = guest.path(f"{HOME}/.ssh/known_hosts")
        lines = known.read_text().splitlines() if known.exists() else []
        others = [each for each in lines if each.split()[0] != self.machine.name]
        public = self.folder.joinpath(f"host{self._keys}.pub").read_text().strip()
        known.write_text("\n".join([*others, f"{self.machine.name} {public}", ""]))


def until(words: str, stream: IO[str]) -> str:
    """Read lines until one has the words; return all that was read."""
    said = ""
    while words not in said:
        line = stream.readline()
        assert line, f"{words!r} was not said:\n{said}"
        said += line
    return said


def network(stack: ExitStack, *names: str, shown: Sequence[Path] = ()) -> list[Machine]:
    """Make machines, to be closed with the stack."""
    made = []
    for name in names:
        machine = Machine(name, shown=shown)
        stack.callback(machine.close)
        made.append(machine)
    return made


def serving(stack: ExitStack, machine: Machine) -> Sshd:
    """Start an ssh server, to be ended with the stack."""
    made = Sshd(machine)
    stack.callback(made.close)
    return made


def wire(stack: ExitStack, number: int, *machines: Machine) -> Wire:
    """Make a wire and plug machines in."""
    made = Wire(number)
    stack.callback(made.close)
    for machine in machines:
        made.join(machine)
    return made
