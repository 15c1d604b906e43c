"""`completion SHELL`: the script that completes `liveheap` in bash, zsh or fish."""

import click
from click.shell_completion import get_completion_class

from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.verbs.base import Verb

_HELP = """Print the completion script of a shell.

\b
  bash:  eval "$(liveheap completion bash)"       in ~/.bashrc
  zsh:   eval "$(liveheap completion zsh)"        in ~/.zshrc
  fish:  liveheap completion fish | source        in config.fish
"""


def perform(desk: Desk, *, shell: str) -> int:
    """Print the script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}")
    nothing = click.Group("liveheap")
    script = kind(nothing, {}, "liveheap", "_LIVEHEAP_COMPLETE").source()
    desk.terminal.show([script])
    return 0


VERB = Verb(
    name="completion",
    help=_HELP,
    perform=perform,
    params=(
        click.Argument(
            ["shell"], metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"])
        ),
    ),
    connects=False,
    in_shell=False,
)
