"""What the end of a command behind `--via` means: docker, kubectl, nsenter, sudo.

Each of them has a code and words of its own for the same few troubles. Where `liveheap`
is what they did not find, the error says that, since python3 may be there instead;
sudo's `secure_path` leads to no virtual environment, for one.
"""

from liveheap_client.errors import ConnectionLost, NoLiveheap, SSHError
from liveheap_client.transport.command import NOT_FOUND, Explain, last_lines
from liveheap_client.transport.sending import too_old

_NAME_IT = "name it in full: --via 'CMD ... /path/to/venv/bin/liveheap bridge'"

_NOT_FOUND_WORDS = (
    "liveheap: command not found",
    "liveheap: not found",
    'exec: "liveheap": executable file not found',
    "failed to execute liveheap: No such file",
)
_KNOWN_WORDS: tuple[tuple[str, str], ...] = (
    ("a password is required", "sudo -v first, or a rule with NOPASSWD"),
    ("is not in the sudoers", "ask as a user who may, or ssh as the worker's user"),
    ("a terminal is required", "sudo -n asks for no password"),
    ("No such container", "docker ps lists the containers"),
    ("is not running", "docker ps lists those that run"),
    ("permission denied while trying to connect to the Docker", "sudo docker ..."),
    ("not a TTY", "no -t: docker exec -i, kubectl exec -i"),
    ("(NotFound)", "kubectl get pods lists them; is it the right namespace?"),
    ("Operation not permitted", "it needs root: --via 'sudo nsenter ...'"),
)


def explain(name: str, *, sent: bool = False) -> Explain:
    """Return what turns the end of such a command into an error.

    `sent`: it was to run python3 with a program of ours, since there is no liveheap.
    """

    def from_end(code: int | None, talk: str) -> Exception:
        lines = last_lines(talk)
        ending = "ended" if code is None else f"ended with exit code {code}"
        hint = next((hint for words, hint in _KNOWN_WORDS if words in talk), None)
        if hint is not None:
            return SSHError("\n".join([f"{name} {ending}", *lines]), hint=hint)
        if sent and code == 0 and not lines:
            return SSHError(
                f"the python3 behind {name} got no program: its stdin is closed",
                hint="docker exec -i, kubectl exec -i",
            )
        if sent and (old := too_old(f"python3 behind {name}", talk)):
            return old
        if code == NOT_FOUND or any(words in talk for words in _NOT_FOUND_WORDS):
            if sent:
                told = f"neither `liveheap` nor `python3` is there, says {name}"
                return SSHError("\n".join([told, *lines]), hint=_NAME_IT)
            told = f"no `liveheap` there, says {name}"
            return NoLiveheap("\n".join([told, *lines]), hint=_NAME_IT)
        return ConnectionLost("\n".join([f"{name} {ending}", *lines]))

    return from_end
