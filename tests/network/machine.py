"""The first process of a machine under test: a name, places of its own, and reaping.

Started in fresh namespaces (hosts.py). It hides /tmp, /run, /var/tmp and the home of
the user behind empty ones, shows the given folders at their own places again, says
`up`, and from then on buries orphans. When it dies the kernel ends all that ran here.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

name, *shown = sys.argv[1:]
HIDDEN = ["/tmp", "/run", "/var/tmp", str(Path.home())]


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


below = [place for place in shown if any(place.startswith(f"{h}/") for h in HIDDEN)]
held = {place: os.open(place, os.O_PATH | os.O_DIRECTORY) for place in below}
socket.sethostname(name)
mount("--make-rprivate", "/")
mount("-t", "proc", "proc", "/proc")
for place in HIDDEN:
    mount("-t", "tmpfs", "-o", "mode=1777" if "tmp" in place else "", "tmpfs", place)
for place, descriptor in held.items():
    os.makedirs(place, exist_ok=True)
    subprocess.run(
        ["mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{descriptor}", place],
        check=True,
        pass_fds=[descriptor],
    )
    os.close(descriptor)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
os.write(1, b"up\n")
os.close(1)
os.close(0)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
while True:
    signal.sigwait([signal.SIGCHLD])
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
