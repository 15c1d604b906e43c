"""The questions an agent answers, one file each.

To add one: write its file, add its line to `COMMANDS`.
"""

from liveheap.commands.base import Command, Param, Piece, Step
from liveheap.commands.clone import CLONE, CLONE_ASK, CLONE_COMPLETE
from liveheap.commands.collect import GC
from liveheap.commands.console import CONSOLE, CONSOLE_COMPLETE
from liveheap.commands.detach import DETACH
from liveheap.commands.histogram import HISTOGRAM
from liveheap.commands.history import HISTORY
from liveheap.commands.memory import MEMORY
from liveheap.commands.resume import RELEASE, RESUME
from liveheap.commands.snapshot import SNAPSHOT
from liveheap.commands.status import STATUS
from liveheap.commands.stop import STOP
from liveheap.commands.tasks import TASKS
from liveheap.commands.trim import TRIM

COMMANDS: tuple[Command, ...] = (
    STATUS,
    HISTORY,
    TASKS,
    MEMORY,
    HISTOGRAM,
    GC,
    TRIM,
    SNAPSHOT,
    RESUME,
    RELEASE,
    CONSOLE,
    CONSOLE_COMPLETE,
    CLONE,
    CLONE_ASK,
    CLONE_COMPLETE,
    DETACH,
    STOP,
)

__all__ = ["COMMANDS", "Command", "Param", "Piece", "Step"]
