"""The agent: puts the rooms together and owns what lives as long as the process.

Life of an agent. `start()` makes it on the main thread, with everything imported;
it publishes its name, binds its socket and starts one raw thread, which sleeps. A
fork takes it into the child as dead state: `after_fork_in_child` closes the parent's
descriptors there, makes new locks and a new instance, and a raw thread binds the
child's own name after a moment, so that a fork that execs leaves no trace. `close`
undoes all.

What is shared between threads is either replaced as a whole, or a dict or set changed
by single operations under the GIL.
"""

from __future__ import annotations

import _socket
import gc
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from liveheap import memory, process, rails, registry, tasks, tokens
from liveheap.agent.audit import Audit
from liveheap.agent.codecs import Codecs
from liveheap.agent.config import Config
from liveheap.agent.context import AgentContext
from liveheap.agent.copies import Copies
from liveheap.agent.gate import never
from liveheap.agent.heavy import Heavy
from liveheap.agent.identity import Identity, current_directory
from liveheap.agent.listener import Listener, open_tcp, open_unix
from liveheap.agent.mainthread import MainThread
from liveheap.agent.native import Native, block_signals, native_id
from liveheap.agent.session import Session
from liveheap.agent.spools import Spools
from liveheap.agent.stream import Stream
from liveheap.agent.threads import Threads
from liveheap.commands.context import Heap
from liveheap.console import ROUTER, LiveConsole, Surroundings
from liveheap.deltas import Deltas
from liveheap.history import Figures, History
from liveheap.hosts import gevent, labelling, roles
from liveheap.protocol.auth import VERSION, Agreed, Ident

STRANGERS_EVERY_S = 60.0
COME_BACK_AFTER_S = (0.3, 1.0, 5.0)
COUNT_GREENLETS_BELOW_RSS = 96 << 20


class Agent:
    """The agent of one process."""

    def __init__(
        self,
        *,
        config: Config,
        native: Native,
        heap: Heap,
        codecs: Codecs,
        environ: Mapping[str, str],
        version: str,
        injected: bool = False,
    ) -> None:
        self.config = config
        self.native = native
        self.heap = heap
        self.codecs = codecs
        heap.owners_pause_ms = config.max_pause
        self.environ = environ
        self.version = version
        self.injected = injected
        self.end: Callable[[], object] = self.close
        self.stay_away: Callable[[], object] = lambda: None
        self.complaints = list(config.complaints)
        self.failures = 0
        self._generation = 0
        self._listener: Listener | None = None
        self._entry: registry.Entry | None = None
        self._switch = ""
        self._published: dict[str, Any] = {}
        self._forked = False
        self.deltas = Deltas(size_and_blocks)
        self._let_go()
        self._begin_anew()

    def _let_go(self) -> None:
        """Set at once what a child must not share with its parent.

        No more than that: each page that it touches is copied, and most of what a host
        forks has ended or is another program before anybody asks it anything.
        """
        self.sessions: set[Session] = set()
        self.spools = Spools(self.native, self.config, self._spools_changed)
        self.copies = Copies(self.heap, self.native.sleep, self.republish)
        self.threads = Threads(self.native)
        self._closing = False
        self._closed = self.native.lock()
        self._closed.acquire()
        self.history: History | None = None
        self.deltas.begin_anew()

    def _begin_anew(self) -> None:
        """Set what a process's own agent has, before it comes up."""
        self.heavy = Heavy(self.native, self.config)
        self.main_thread = MainThread(self.native, self.heap.add_pending_call)
        self._settled_rss: int | None = None
        self._notes = 0
        self._collections = memory.full_collections()
        self._strangers = 0
        self._strangers_said = 0.0
        pid = os.getpid()
        self.identity = Identity(
            pid=pid,
            start_time=registry.start_time(pid) or 0,
            instance=os.urandom(4).hex(),
            hostname=os.uname().nodename,
            kind="child" if self._generation else "app",
            generation=self._generation,
            started=time.time(),
        )
        poll = self.native.poll if self.config.audit == "stderr" else None
        self.audit = Audit(self.identity.instance, poll=poll)

    # Coming up and going down.

    def come_up(self) -> Listener:
        """Publish this process's name and bind its sockets; OSError if that fails.

        Returns:
            The listener, for `serve`, which also closes the sockets.
        """
        if self.history is None and self.config.history:
            self.history = History()
        directory = registry.run_directory(self.environ, create=True)
        self.heap.run_directory = self.heavy.slots.directory = str(directory)
        tokens.ensure_token(self.environ, directory)
        self.audit.path = str(directory / "audit.log")
        self._switch = registry.kill_switch(directory)
        self._published = self._public_facts()
        entry = registry.publish(
            directory, self.identity.pid, self.identity.start_time, self._published
        )
        sockets: list[_socket.socket] = []
        try:
            with registry.connect_path(entry) as path:
                sockets.append(open_unix(path))
            sockets.extend(self._open_tcp())
            listener = Listener(self, sockets)
        except BaseException:
            for sock in sockets:
                sock.close()
            registry.withdraw(entry)
            raise
        self._entry, self._listener = entry, listener
        if self._closing:
            self.close()
        return listener

    def _open_tcp(self) -> list[_socket.socket]:
        """Bind the port, in the first process alone; without it there is still ssh."""
        address = self.config.tcp
        if address is None or self._generation:
            return []
        try:
            return [open_tcp(address)]
        except OSError as exc:
            self.complaints.append(f"LIVEHEAP_TCP={address[0]}:{address[1]}: {exc}")
            return []

    def come_up_later(self) -> None:
        """The first thread of a forked child: wait, bind, listen."""
        if self._closed.acquire(True, self.config.fork_delay):
            return
        self._begin_anew()
        if not registry.disabled(self.environ):
            self.serve(self.come_up())

    def serve(self, listener: Listener | None) -> None:
        """Listen until the end, wherever the worker moves: the first thread's life."""
        while listener is not None:
            listener.serve()
            listener = self._come_back() if listener.displaced else None

    def _come_back(self) -> Listener | None:
        """Come up again, in a moment: whoever closes all files is opening others."""
        entry, self._entry = self._entry, None
        if entry is not None:
            registry.withdraw(entry)
        for delay in COME_BACK_AFTER_S:
            if self._closed.acquire(True, delay):
                return None
            try:
                return self.come_up()
            except Exception:
                self.failures += 1
        return None

    def close(self) -> None:
        """Withdraw the name, end listener and sessions. From any thread."""
        if not self._closing:
            self._closing = True
            self._closed.release()
        entry, self._entry = self._entry, None
        if entry is not None:
            registry.withdraw(entry)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()
        self.spools.close()
        for session in list(self.sessions):
            session.stream.hang_up()

    def _spools_changed(self) -> None:
        """Have the listener's thread look when the next lease ends."""
        if self._listener is not None:
            self._listener.ring()

    # The fork hook's two halves.

    def after_fork_in_parent(self) -> None:
        """Note that this process is a master; the listener's thread republishes."""
        if not self._forked and self._listener is not None:
            self._forked = True
            self._listener.wake()

    def after_fork_in_child(self, *, comes_up: bool) -> None:
        """Let go of everything that is the parent's, and come up under our own name."""
        listener, self._listener, self._entry = self._listener, None, None
        if listener is not None:
            listener.close_in_child()
        ROUTER.forget()
        for session in self.sessions:
            session.stream.close()
        self.heavy.slots.give()
        was_closing = self._closing
        self.native = self.native.in_child()
        self._generation += 1
        self._forked = False
        self._let_go()
        if comes_up and not was_closing:
            self.threads.start(self.come_up_later)
        else:
            self._closing = True

    @property
    def place(self) -> str:
        """The path of its socket; empty if it has none."""
        entry = self._entry
        return str(entry.socket) if entry is not None else ""

    # What the listener asks.

    def is_switched_off(self) -> bool:
        """Whether somebody has put the kill switch's file beside our socket.

        Asked whenever the agent wakes: one look, at a path that is known.
        """
        return self._entry is not None and os.path.lexists(self._switch)

    def obey_the_switch(self) -> None:
        """End, because the kill switch is thrown."""
        self.audit.write("switched off", by="file")
        self._leave()

    def is_full(self) -> bool:
        """Whether a further session would be one too many."""
        return len(self.sessions) >= self.config.max_sessions

    @property
    def ident(self) -> Ident:
        """Who answers, for the handshake."""
        me = self.identity
        return Ident(me.hostname, me.pid, me.start_time, me.instance)

    def token_reader(self) -> tokens.Reader:
        """Return what reads the token, for one handshake."""
        entry = self._entry
        return tokens.Reader(self.environ, entry.socket.parent if entry else None)

    def begin_session(
        self,
        stream: Stream,
        agreed: Agreed,
        peer: Mapping[str, Any],
        trailing: bytes,
        is_stale: Callable[[], bool] = never,
    ) -> None:
        """Start the thread of a new session, or hang up if that cannot be."""
        session = Session(stream, agreed, self, peer, is_stale)
        if self.is_full() or self._closing:
            stream.hang_up()
            stream.close()
            return
        self.sessions.add(session)
        try:
            self.threads.start(self._run_session, session, trailing)
        except RuntimeError:
            self.sessions.discard(session)
            stream.hang_up()
            stream.close()

    def _run_session(self, session: Session, trailing: bytes) -> None:
        try:
            session.serve(trailing)
        finally:
            self.sessions.discard(session)
            if session.leaving:
                self._leave()

    def _leave(self) -> None:
        """End, in a thread that is none of those which the end waits for."""

        def end() -> None:
            with suppress(BaseException):
                block_signals()
                self.end()

        self.native.start_thread(end, ())

    def count_strangers(self, count: int) -> None:
        """Count refused connections; say so in the audit log once a minute at most."""
        self._strangers += count
        now = time.monotonic()
        if now - self._strangers_said >= STRANGERS_EVERY_S or not self._strangers_said:
            self.audit.write("strangers", refused=self._strangers)
            self._strangers, self._strangers_said = 0, now

    def settle(self) -> None:
        """Note how big the worker is before it works, and publish what has changed."""
        if self._settled_rss is None:
            self._settled_rss = process.look().rss
        self.republish()

    def note_history(self) -> None:
        """Add what the worker's figures are now; tens of microseconds.

        What is published may be out of date where a worker imports for long; looking
        costs more than a note does, so it is done ever more rarely.
        """
        if self.history is not None:
            self._notes += 1
            if not self._notes & (self._notes - 1):
                self.republish()
            (rss, descriptors), before = process.size(), self._collections
            self._collections = memory.full_collections()
            self.history.note(
                rss=rss,
                descriptors=descriptors,
                collections=self._collections - before,
                done=sum(tasks.done().values()),
            )

    def republish(self) -> None:
        """Write the public facts again if they have changed since."""
        facts = self._public_facts()
        entry = self._entry
        if entry is not None and not self._closing and facts != self._published:
            self._published = facts
            self._entry = registry.publish(
                entry.socket.parent, entry.pid, entry.start_time, facts
            )

    # What commands ask.

    def lend_context(self, session: Session) -> AgentContext:
        """Return what a command of this session may reach."""
        return AgentContext(self, session)

    def open_console(self) -> LiveConsole:
        """Open a console in this process."""
        return LiveConsole(
            Surroundings(
                lock=self.native.lock,
                ident=self.native.ident,
                native_id=native_id,
                main_ident=self.native.main_ident,
                start_thread=self.threads.start,
                post=self.main_thread.post,
                run_on_main=self.main_thread.run,
            )
        )

    def facts(self) -> dict[str, Any]:
        """What is known of the worker right now, for `status`."""
        me, now = self.identity, process.look()
        return {
            **self._known_facts(),
            "pid": me.pid,
            "start_time": me.start_time,
            "hostname": me.hostname,
            "instance": me.instance,
            "rss": now.rss,
            "started": now.started,
            "uptime": now.uptime,
            "threads": now.threads,
            "descriptors": now.descriptors,
            "gc_counts": list(gc.get_count()),
            "gc_enabled": gc.isenabled(),
            "sessions": len(self.sessions),
            "spools": self.spools.waiting() or None,
            "heavy": self.heavy.command,
            **self.copies.facts(),
            "engine": self.heap.unsupported or "ok",
            "labels": " ".join(labelling.LABELLING.hooked) or None,
            "labels_failed": " ".join(labelling.LABELLING.failed) or None,
            "scope_ceiling": self.config.allow.label,
            "limits": rails.told(self.config),
            "lost_audit_lines": self.audit.lost or None,
            "failures": self.failures or None,
        }

    def figures(self) -> list[Figures]:
        """What the history holds, oldest first."""
        return [] if self.history is None else self.history.figures()

    def greenlets(self) -> int | None:
        """Count the greenlets, unless that would stop the worker for long."""
        rss = process.look().rss
        if rss is None or rss >= COUNT_GREENLETS_BELOW_RSS:
            return None
        return gevent.count_greenlets()

    def _public_facts(self) -> dict[str, Any]:
        """What stands beside the socket for every process of this user to read."""
        return {
            **self._known_facts(),
            "started": self.identity.started,
            "ppid": os.getppid(),
            "cwd": current_directory(),
        }

    def _known_facts(self) -> dict[str, Any]:
        """What can be said without asking the kernel."""
        me = self.identity
        kind = "master" if self._forked else me.kind
        return {
            **roles.facts(self.native.main_ident, kind),
            "name": self.config.name,
            "python": ".".join(map(str, sys.version_info[:3])),
            "implementation": sys.implementation.name,
            "version": self.version,
            "protocol": VERSION,
            "generation": me.generation,
            "clone": self.copies.pid,
            "settled_rss": self._settled_rss,
            "injected": self.injected or None,
        }


def size_and_blocks() -> tuple[int, int]:
    """Return the resident bytes and pymalloc's blocks."""
    return process.size()[0], sys.getallocatedblocks()
