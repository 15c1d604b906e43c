#!/usr/bin/env python3
"""Stands in for ssh: `LIVEHEAP_SSH='python fake_ssh.py MODE'`.

It takes ssh's command line, checks the shape that every call must have, and does what
the mode says: run the command on this machine, or fail as ssh fails.
"""

import json
import os
import subprocess
import sys

SAYS = {
    "host-key": (255, "Host key verification failed.\r"),
    "refused": (255, "ssh: connect to host box port 22: Connection refused"),
    "not-found": (127, "bash: line 1: liveheap: command not found"),
    "not-executable": (126, "bash: line 1: /usr/bin/liveheap: Permission denied"),
    "silent": (255, ""),
    "other": (9, "this account is for git only"),
}


def main(words: list[str]) -> int:
    mode, options = words[0], words[1:]
    if "-G" in options:
        print("controlpath /tmp/mine" if mode == "own-control" else "user nobody")
        return 0
    host, command = options[options.index("--") + 1 :]
    assert "-T" in options
    assert not {"-A", "-t"} & set(options)
    if record := os.environ.get("FAKE_SSH_RECORD"):
        with open(record, "a", encoding="utf-8") as file:
            print(
                "\t".join([*options[: options.index("--")], host, command]), file=file
            )
    if mode == "hosts":
        return on_one_of_several(host, command)
    if mode in SAYS:
        code, text = SAYS[mode]
        print(text, file=sys.stderr)
        return code
    if mode == "noise":
        sys.stdout.write("welcome to the box\n" * 50)
        sys.stdout.flush()
    if mode == "hang":
        sys.stdin.buffer.read()
        return 0
    if mode == "drop":
        return drop(command)
    return run(command)


def on_one_of_several(host: str, command: str) -> int:
    """Run a command on a host of FAKE_SSH_HOSTS: names, and where their agents are."""
    if hangs := os.environ.get("FAKE_SSH_HANGS"):
        open(hangs, "w").close()
        sys.stdin.buffer.read()
    place = json.loads(os.environ["FAKE_SSH_HOSTS"]).get(host)
    if place is None:
        print(
            f"ssh: Could not resolve hostname {host}: Name or service not known",
            file=sys.stderr,
        )
        return 255
    os.environ["LIVEHEAP_DIR"] = place
    return run(command)


def run(command: str) -> int:
    """Run a command as the remote side would: its shell, and what its PATH has."""
    shell = os.environ.get("FAKE_SSH_SHELL", "/bin/sh")
    environ = dict(os.environ)
    if path := environ.get("FAKE_SSH_PATH"):
        environ["PATH"] = path
    return subprocess.run([shell, "-c", command], env=environ, check=False).returncode


def drop(command: str) -> int:
    """Let the greeting through, and then lose the link."""
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout
        greeting = b""
        while not greeting.endswith(b"}\n"):
            greeting += process.stdout.read(1)
        os.write(1, greeting)
        sys.stdin.buffer.read(1)
        print("client_loop: send disconnect: Broken pipe", file=sys.stderr)
        process.kill()
    return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
