"""Start and stop the agent of this process. The only code that runs in the host's own
thread, at the host's own time: so nothing gets out of here.

LIVEHEAP_MASTER=0 spares masters, not their children. A child that was forked is known
as one; one in an interpreter of its own (multiprocessing's `spawn`, RQ's SpawnWorker)
would be taken for a master, were it not told by its command line.

Hooks are registered once per process, and look here for an agent that may or may not
be. An agent that was brought into the worker from outside (`injected`) makes do with
what is loaded, and can be told to leave, which takes the hooks away again.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from liveheap import forks, registry, tasks
from liveheap.agent import config, native
from liveheap.agent.codecs import Codecs
from liveheap.agent.service import Agent
from liveheap.heap import Heap
from liveheap.hosts import command_line, gevent, labelling
from liveheap.hosts.gevent_spawn import HEIRS

PATHS = ("LIVEHEAP_DIR", "LIVEHEAP_SPOOL", "LIVEHEAP_TOKEN_FILE")
STOP_WITHIN_S = 5.0
EXIT_WITHIN_S = 2.0


class Current:
    """The agent of this process, and whether the hooks are in place."""

    agent: Agent | None = None
    hooked = False
    off = False  # by `stop`: no agent until the program starts anew


def start(
    version: str, overrides: Mapping[str, object], *, injected: bool = False
) -> None:
    """Start the agent unless it runs or is switched off.

    `injected`: from outside, into a worker that did not ask for it.

    Raises:
        LiveheapError, OSError: it cannot be started.
        TypeError: an override that is not a setting.
    """
    if Current.agent is not None or Current.off:
        return
    settings = config.read(os.environ, overrides)
    environ = with_whole_paths(dict(os.environ), settings.dir)
    if not settings.enabled or registry.disabled(environ):
        return
    agent = Agent(
        config=settings,
        native=native.find(),
        heap=Heap(environ=environ),
        codecs=Codecs(as_found=injected),
        environ=environ,
        version=version,
        injected=injected,
    )
    agent.end = leave if injected else stop
    agent.stay_away = stay_away
    gevent.remember_hub()
    if settings.master or command_line.does_work(command_line.original()):
        listener = agent.come_up()
        try:
            agent.threads.start(agent.serve, listener)
        except BaseException:
            agent.close()
            listener.close()
            raise
    for complaint in agent.complaints:
        say(complaint)
    Current.agent = agent
    try:
        label_tasks(agent.native)
        if settings.history:
            tasks.observe(agent.deltas)
    except Exception:
        agent.failures += 1
    if not Current.hooked:
        atexit.register(at_exit)
        forks.in_parent(after_fork_in_parent)
        forks.in_child(after_fork_in_child)
        Current.hooked = True


def label_tasks(known: native.Native) -> None:
    """Take labels from now on, of the frameworks there are and of those to come."""
    tasks.REGISTRY.switch_on(
        known.ident, native.original("_thread", "_local"), known.main_ident
    )
    labelling.LABELLING.install()


def with_whole_paths(environ: dict[str, str], chosen: str | None) -> dict[str, str]:
    """Return the environment with paths that stay right when the worker moves."""
    if chosen is not None:
        environ["LIVEHEAP_DIR"] = chosen
    for name in PATHS:
        if environ.get(name):
            environ[name] = os.path.abspath(environ[name])
    return environ


def stop() -> None:
    """End the agent and undo what it did. Does nothing if there is none."""
    agent, Current.agent = Current.agent, None
    if agent is not None:
        labelling.LABELLING.remove()
        tasks.REGISTRY.switch_off()
        agent.close()
        agent.threads.wait_until_none(STOP_WITHIN_S)


def leave() -> None:
    """End the agent and take the hooks away, too."""
    stop()
    Current.hooked = False
    atexit.unregister(at_exit)
    forks.forget()


def stay_away() -> None:
    """Let no agent start here, nor in what is forked from here, any more."""
    Current.off = True


def at_exit() -> None:
    """End the agent before the interpreter is taken apart."""
    with suppress(BaseException):
        if Current.agent is not None:
            Current.agent.close()
            Current.agent.threads.wait_until_none(EXIT_WITHIN_S)


def after_fork_in_parent() -> None:
    """The fork hook of the parent's side."""
    with suppress(BaseException):
        if Current.agent is not None:
            Current.agent.after_fork_in_parent()


def after_fork_in_child() -> None:
    """The fork hook of the child's side."""
    with suppress(BaseException):
        agent = Current.agent
        tasks.REGISTRY.after_fork_in_child()
        HEIRS.forget_all()
        if agent is not None:
            comes_up = agent.config.children and not Current.off
            if not comes_up:
                Current.agent = None
                tasks.REGISTRY.switch_off()
            agent.after_fork_in_child(comes_up=comes_up)


def say(what: str) -> None:
    """One line on stderr, if there is one."""
    with suppress(Exception):
        sys.stderr.write(f"liveheap: {what}\n")
