"""The console over a session: what it answers, and what no code of a user's breaks."""

from __future__ import annotations

import builtins
import gc
import io
import json
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contract.agent_under_test import session_of
from contract.fake_heap import FakeHeap
from contract.minimal_client import Gone, MinimalClient
from spawn import eventually

from liveheap.agent.service import Agent
from liveheap.commands import evaluating
from liveheap.console import ROUTER, live
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Failure, Result

SEEN: list[Any] = []
"""What evaluated code leaves for its test, which is in the same process."""
HERE = f"import sys; SEEN = sys.modules[{__name__!r}].SEEN"


@dataclass
class Answer:
    output: str
    facts: dict[str, Any]
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        return str(self.facts["outcome"])


def evaluate(client: MinimalClient, code: str, **args: Any) -> Answer:
    """Run code; return what it wrote and how it ended."""
    return answer_of(client, client.ask("console", code=code, **args))


def answer_of(client: MinimalClient, request: int) -> Answer:
    messages = list(client.answers(request))
    last = messages[-1]
    if isinstance(last, Failure):
        raise last.to_error()
    assert isinstance(last, Result)
    chunks = [each for each in messages if isinstance(each, Chunk)]
    data = b"".join(bytes(each.data) for each in chunks)
    return Answer(data.decode(), last.shape.as_dict(), chunks)


@pytest.fixture
def client(agent: Agent) -> Iterator[MinimalClient]:
    SEEN.clear()
    before = sys.stdout, sys.stderr, sys.stdin, sys.displayhook, sys.breakpointhook
    with session_of(agent, Scope.EXEC) as client:
        evaluate(client, HERE)
        yield client
    eventually(lambda: not agent.threads._alive, what="threads end")
    now = sys.stdout, sys.stderr, sys.stdin, sys.displayhook, sys.breakpointhook
    assert all(one is other for one, other in zip(before, now, strict=True))
    assert ROUTER.threads == {}


def test_values_are_shown_and_text_is_sent(client: MinimalClient):
    answer = evaluate(client, "print('hello'); 6 * 7; None; 'text'")
    assert answer.output == "hello\n42\n'text'\n"
    assert answer.outcome == "ok"
    assert answer.chunks[0].offset == 0


def test_names_live_as_long_as_their_session_and_are_its_own(agent: Agent, client):
    evaluate(client, "mine = 5")
    assert evaluate(client, "mine + 1\n_ + 1").output == "6\n7\n"
    with session_of(agent, Scope.EXEC) as other:
        assert evaluate(other, "mine").facts["raised"] == "NameError"
    assert evaluate(client, "mine").output == "5\n"


def test_lines_go_on_until_the_statement_is_whole(client: MinimalClient):
    lines = "def twice(x):\n    return 2 * x"
    assert evaluate(client, lines).outcome == "incomplete"
    assert evaluate(client, f"{lines}\n").outcome == "ok"
    assert evaluate(client, "twice(4)").output == "8\n"
    assert evaluate(client, "(1,").outcome == "incomplete"
    assert evaluate(client, "(1,", whole=True).facts["raised"] == "SyntaxError"
    many = "a = 1\nfor i in range(2):\n    i\na"
    assert evaluate(client, many, whole=True).output == "0\n1\n1\n"


def test_a_future_import_holds_for_what_follows(client: MinimalClient):
    evaluate(client, "from __future__ import annotations")
    evaluate(client, "def f(x: nothing_of_that_name): pass\n")
    assert evaluate(client, "f.__annotations__").output.count("nothing_of_that") == 1


def test_a_traceback_names_the_code_and_none_of_ours(client: MinimalClient):
    answer = evaluate(client, "def f():\n    1 / 0\n\nf()", whole=True)
    assert (answer.outcome, answer.facts["raised"]) == ("error", "ZeroDivisionError")
    assert '"<console>", line 2, in f' in answer.output
    assert "liveheap" not in answer.output
    chained = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    breakpoint()"
    assert "interpreter.py" not in evaluate(client, chained, whole=True).output


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("exit()", 0),
        ("quit(3)", 3),
        ("raise SystemExit", 0),
        ("import sys; sys.exit('no')", 1),
    ],
)
def test_leaving_leaves_the_console_and_nothing_else(code, exit_code, client):
    answer = evaluate(client, code)
    assert (answer.outcome, answer.facts["exit_code"]) == ("exit", exit_code)
    assert not sys.stdin.closed
    assert evaluate(client, "1").output == "1\n"


NASTY = {
    "recursion": "def f(): f()\nf()",
    "recursion in C": "x = []\nfor _ in range(10**5): x = [x]\nrepr(x)",
    "no memory": "raise MemoryError",
    "an exception beside all others": "class E(BaseException): pass\nraise E",
    "cancelled": "import asyncio\nraise asyncio.CancelledError",
    "generator exit": "raise GeneratorExit",
    "interrupt": "raise KeyboardInterrupt",
    "repr that raises": "class R:\n    def __repr__(self): raise ValueError('x')\nR()",
    "repr that lies": "class R:\n    def __repr__(self): return 5\nR()",
    "text that raises": (
        "class E(Exception):\n    def __str__(self): raise SystemExit(3)\nraise E"
    ),
    "name that raises": (
        "class M(type):\n"
        "    @property\n"
        "    def __name__(cls): raise ValueError\n"
        "class E(Exception, metaclass=M): pass\n"
        "raise E"
    ),
    "an exception that holds itself": (
        "e = ValueError()\ne.__cause__ = e\ne.__context__ = e\nraise e"
    ),
    "nesting": "(" * 500 + ")" * 500,
    "a null byte": "a = '\0'",
    "a surrogate": "'\\ud800'.encode()",
    "input": "input('name? ')",
    "a debugger": "breakpoint()",
    "a password": "import getpass; getpass.getpass()",
    "reading": "import sys; sys.stdin.read()",
}


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("code", NASTY.values(), ids=NASTY)
def test_what_code_raises_ends_the_evaluation_alone(code: str, client: MinimalClient):
    answer = evaluate(client, code, whole=True)
    assert answer.outcome in ("error", "exit")
    assert evaluate(client, "print(6 * 7)").output == "42\n"


def test_input_is_refused_in_words(client: MinimalClient):
    assert "no input()" in evaluate(client, "input()").output
    assert "no debugger" in evaluate(client, "breakpoint()").output


def test_a_lone_surrogate_can_be_printed(client: MinimalClient):
    assert evaluate(client, "print('\\ud800')").output == "\\ud800\n"


def test_bytes_come_too_and_a_file_of_the_workers_is_not_touched(client):
    code = "import sys; n = sys.stdout.buffer.write(b'raw\\xff'); sys.stdout.flush()"
    assert evaluate(client, code).output == "raw\\xff"
    assert evaluate(client, "sys.stdout.fileno()").facts["raised"] == (
        "UnsupportedOperation"
    )
    assert evaluate(client, "sys.stdout.close(); sys.stdin.close(); 1").output == "1\n"
    assert not sys.stdin.closed


def test_what_is_left_out_of_builtins_is_there_again(client: MinimalClient):
    evaluate(client, "__builtins__ = None")
    assert evaluate(client, "len('four')").output == "4\n"


def test_nothing_of_python_s_own_keeps_what_was_shown_or_raised(client):
    before = {name for name in vars(sys) if name.startswith("last_")}
    evaluate(client, "object()")
    evaluate(client, "1 / 0")
    assert {name for name in vars(sys) if name.startswith("last_")} == before
    assert not hasattr(builtins, "_")


class Kept:
    """Something of the worker's."""


@pytest.mark.parametrize(
    "code",
    [
        "mine = SEEN[0]",
        "SEEN[0]",
        "def f(held):\n    1 / 0\n\nf(SEEN[0])",
        "def f():\n    yield SEEN[0]\n\ng = f(); next(g)",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    kept = e, SEEN[0]\n",
        "%main mine = SEEN[0]",
    ],
)
def test_the_end_of_a_session_lets_go_of_all_it_held(code, agent, heap):
    SEEN[:] = [kept := Kept()]
    alive = weakref.ref(kept)
    with session_of(agent, Scope.EXEC) as client:
        evaluate(client, HERE)
        request = client.ask("console", code=code, whole=True)
        if code.startswith("%main"):
            eventually(lambda: heap.pending, what="the main thread is asked")
            heap.pending.pop()()
        answer_of(client, request)
        del kept
        SEEN.clear()
    heap.pending.clear()
    eventually(lambda: not agent.threads._alive, what="threads end")

    def is_let_go() -> bool:
        gc.collect()  # a thread that ends holds its arguments a moment longer
        return alive() is None

    eventually(is_let_go, what="what the session held is let go")


def test_ctrl_c_interrupts_a_tight_loop(client: MinimalClient):
    request = client.ask("console", code="SEEN.append(1)\nwhile True: pass", whole=True)
    eventually(lambda: SEEN, what="it loops")
    client.cancel(request)
    answer = answer_of(client, request)
    assert answer.facts["raised"] == "KeyboardInterrupt"
    assert "KeyboardInterrupt" in answer.output
    assert evaluate(client, "1").output == "1\n"


def test_an_interrupt_that_comes_at_once_is_not_lost(client: MinimalClient):
    for _ in range(20):
        request = client.ask("console", code="while True: pass", whole=True)
        client.cancel(request)
        last = list(client.answers(request))[-1]
        if isinstance(last, Failure):  # it had not begun
            assert last.message == "cancelled"
        else:
            assert last.shape.as_dict()["raised"] == "KeyboardInterrupt"


def test_code_may_catch_the_interrupt_and_answer(client: MinimalClient):
    code = (
        "try:\n    SEEN.append(1)\n    while True: pass\n"
        "except KeyboardInterrupt:\n    print('so be it')\n"
    )
    request = client.ask("console", code=code)
    eventually(lambda: SEEN, what="it loops")
    client.cancel(request)
    answer = answer_of(client, request)
    assert (answer.outcome, answer.output) == ("ok", "so be it\n")


def test_ctrl_c_interrupts_a_value_that_takes_for_ever_to_be_shown(client):
    code = (
        "class R:\n    def __repr__(self):\n        SEEN.append(1)\n"
        "        while True: pass\nR()"
    )
    request = client.ask("console", code=code, whole=True)
    eventually(lambda: SEEN, what="it loops")
    client.cancel(request)
    assert answer_of(client, request).facts["raised"] == "KeyboardInterrupt"


@pytest.fixture
def stuck(client: MinimalClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have something evaluated that no interrupt reaches; let it go afterwards."""
    monkeypatch.setattr(evaluating, "HEEDS_WITHIN_S", 0.1)
    monkeypatch.setattr(live, "ENDS_WITHIN_S", 0.1)
    gate = threading.Lock()
    gate.acquire()
    SEEN.append(gate)
    request = client.ask("console", code="SEEN.append(1); SEEN[0].acquire(); 'late'")
    eventually(lambda: len(SEEN) > 1, what="it waits")
    client.cancel(request)
    with pytest.raises(CommandError) as left:
        answer_of(client, request)
    assert left.value.code == "cancelled"
    assert "call of C" in str(left.value)
    yield
    if gate.locked():
        gate.release()


@pytest.mark.usefixtures("stuck")
def test_code_in_a_call_of_c_is_left_to_itself_and_the_next_is_told(client):
    with pytest.raises(CommandError, match="still runs") as busy:
        evaluate(client, "1")
    assert busy.value.code == "busy"
    SEEN[0].release()
    eventually(lambda: succeeds(client), what="the call has returned")


def succeeds(client: MinimalClient) -> bool:
    try:
        return evaluate(client, "1").output == "1\n"
    except CommandError:
        return False


def test_few_evaluations_outlive_their_sessions(agent, monkeypatch):
    monkeypatch.setattr(live, "ENDS_WITHIN_S", 0.05)
    gate = threading.Lock()
    gate.acquire()
    for n in range(live.MOST_LEFT_BEHIND):
        SEEN[:] = [gate]
        with session_of(agent, Scope.EXEC) as client:
            evaluate(client, HERE)
            client.ask("console", code="SEEN.append(1); SEEN[0].acquire(); print('!')")
            eventually(lambda: len(SEEN) > 1, what="it waits")
        assert live.count_left_behind() == n + 1
    with session_of(agent, Scope.EXEC) as client:
        with pytest.raises(CommandError) as busy:
            evaluate(client, "1")
        assert busy.value.code == "busy"
        for _ in range(live.MOST_LEFT_BEHIND):
            eventually(gate.locked, what="the next one waits")
            gate.release()
            eventually(gate.locked, what="one has it")
        gate.release()
        eventually(lambda: not live.count_left_behind(), what="all have ended")
        assert evaluate(client, "1").output == "1\n"
    eventually(lambda: not agent.threads._alive, what="threads end")


def test_output_is_cut_at_its_limit_between_two_characters(client: MinimalClient):
    answer = evaluate(client, "print('\u00e9' * 100)", max_output=51)
    assert answer.output == "\u00e9" * 25
    assert answer.facts["truncated"] is True
    assert answer.facts["bytes"] == 50
    code = "while True: print('x' * 1000)"
    request = client.ask("console", code=code, whole=True)
    length = 0
    for message in client.answers(request):
        if isinstance(message, Chunk):
            length += message.raw_length
            if length >= evaluating.OUTPUT.default:
                client.cancel(request)
    assert length == evaluating.OUTPUT.default


def test_a_client_that_reads_nothing_slows_nobody_down(agent: Agent, client):
    with session_of(agent, Scope.EXEC) as lazy:
        evaluate(lazy, HERE)
        lazy.ask("console", code="print('x' * 900_000); SEEN.append('done')")
        eventually(lambda: SEEN == ["done"], what="it has ended, unread")
        assert evaluate(client, "1").output == "1\n"


def test_a_client_that_vanishes_interrupts_its_code(agent: Agent):
    SEEN.clear()
    code = (
        "try:\n    SEEN.append('runs')\n    while True: pass\n"
        "except KeyboardInterrupt:\n    SEEN.append('interrupted')\n"
    )
    with session_of(agent, Scope.EXEC) as client:
        evaluate(client, HERE)
        client.ask("console", code=code)
        eventually(lambda: SEEN, what="it runs")
    eventually(lambda: SEEN == ["runs", "interrupted"], what="it is interrupted")
    eventually(lambda: not agent.threads._alive, what="threads end")


def test_the_kill_switch_interrupts_what_runs(agent, monkeypatch):
    thrown: list[bool] = []
    monkeypatch.setattr(Agent, "is_switched_off", lambda _self: bool(thrown))
    monkeypatch.setattr("liveheap.agent.session.RIGHT_FOR_S", 0.01)
    SEEN.clear()
    code = (
        "try:\n    SEEN.append('runs')\n    while True: pass\n"
        "except KeyboardInterrupt:\n    SEEN.append('interrupted')\n"
    )
    with session_of(agent, Scope.EXEC) as client:
        evaluate(client, HERE)
        request = client.ask("console", code=code)
        eventually(lambda: SEEN, what="it runs")
        thrown.append(True)
        with pytest.raises(Gone):
            answer_of(client, request)
    eventually(lambda: SEEN == ["runs", "interrupted"], what="it is interrupted")
    eventually(lambda: not agent.threads._alive, what="threads end")


def test_what_runs_stands_in_the_audit_log_before_it_runs(agent, client, tmp_path):
    agent.audit.path = str(tmp_path / "audit.log")
    code = "SEEN.append(LOG.read_text())  # " + "\u00e9" * 700
    evaluate(client, f"import pathlib; LOG = pathlib.Path({agent.audit.path!r})")
    evaluate(client, code)
    lines = [json.loads(line) for line in SEEN[0].splitlines()]
    audited = [line["code"] for line in lines if line["what"] == "console-line"]
    assert "".join(audited[1:]) == code


def test_the_main_thread_runs_what_it_is_told_to(client, heap: FakeHeap):
    code = (
        "%main for each in '1':\n"
        "    SEEN.append(__import__('threading').current_thread()); print('there')\n"
    )
    request = client.ask("console", code=code)
    eventually(lambda: heap.pending, what="the main thread is asked")
    heap.pending.pop()()
    answer = answer_of(client, request)
    assert (answer.output, answer.facts["via"]) == ("there\n", "main")
    assert [threading.main_thread()] == SEEN


def test_a_main_thread_that_does_not_come_is_told_and_runs_nothing_later(
    client, heap: FakeHeap, monkeypatch
):
    monkeypatch.setattr(live, "MAIN_COMES_WITHIN_S", 0.1)
    with pytest.raises(CommandError, match="main thread did not come"):
        evaluate(client, "%main SEEN.append(1)")
    heap.pending.pop()()
    assert SEEN == []
    assert evaluate(client, "1").output == "1\n"


def test_a_command_without_code_says_where_one_is(client: MinimalClient):
    facts = client.request("console").as_dict()
    assert facts["class"].startswith("manhole 1.")
    assert facts["thread"] != threading.get_native_id()


def complete(client: MinimalClient, text: str) -> list[str]:
    return [row[0] for row in client.request("console-complete", text=text).rows]


LAZY = """
class Lazy:
    __slots__ = ("__dict__", "slot")
    number = 5
    @property
    def costly(self): SEEN.append("property")
    def __getattr__(self, name): SEEN.append(name); return self
    def __dir__(self): SEEN.append("dir"); return ["made_up"]
lazy = Lazy(); lazy.own = lazy.slot = SEEN
"""


def test_completion_runs_nothing_of_the_worker_s(client: MinimalClient):
    assert evaluate(client, LAZY, whole=True).outcome == "ok"
    assert complete(client, "laz") == ["lazy"]
    assert complete(client, "print(lazy.") == ["costly", "number", "own", "slot"]
    assert complete(client, "lazy.own.app") == ["append"]
    assert complete(client, "lazy.slot.app") == ["append"]
    assert complete(client, "lazy.costly.") == []
    assert complete(client, "lazy.unknown.") == []
    assert SEEN == []
    assert complete(client, "sys.getref") == ["getrefcount"]
    assert complete(client, "sys.stdout.bu") in (["buffer"], [])
    assert complete(client, "str.__getit") == ["__getitem__"]
    assert complete(client, "f().") == complete(client, "'text'.") == []
    assert "while" in complete(client, "whi")


def test_the_application_s_own_output_stays_its_own(client, capfd):
    code = "SEEN.append(1)\nwhile len(SEEN) < 2: pass\nprint('console')"
    request = client.ask("console", code=code, whole=True)
    eventually(lambda: SEEN, what="it runs")
    print("application")
    print("application", file=sys.stderr)
    assert isinstance(sys.stdout, io.TextIOBase)
    kept = sys.stdout
    SEEN.append(2)
    assert answer_of(client, request).output == "console\n"
    eventually(lambda: sys.stdout is not kept, what="the original is back")
    print("kept", file=kept)
    assert capfd.readouterr() == ("application\nkept\n", "application\n")


def test_what_somebody_else_has_put_there_meanwhile_stays(client, monkeypatch):
    code = "SEEN.append(1)\nwhile len(SEEN) < 2: pass"
    request = client.ask("console", code=code, whole=True)
    eventually(lambda: SEEN, what="it runs")
    other = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", other)
        SEEN.append(2)
        answer_of(client, request)
        assert sys.stdout is other
        assert evaluate(client, "print('console')").output == "console\n"
        assert sys.stdout is other
    ROUTER.attach("one more", lock=threading.Lock, ident=threading.get_ident)
    ROUTER.detach("one more")
    assert other.getvalue() == ""


def test_a_worker_without_streams_has_a_console_and_can_print(client, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    code = "SEEN.append(1)\nwhile len(SEEN) < 2: pass\nprint('console')"
    request = client.ask("console", code=code, whole=True)
    eventually(lambda: SEEN, what="it runs")
    print("nobody hears this")
    SEEN.append(2)
    assert answer_of(client, request).output == "console\n"
    assert sys.stdout is None


def test_a_console_is_refused_below_scope_exec(agent: Agent, tmp_path: Path):
    for scope in (Scope.READ, Scope.GRAPH, Scope.VALUES):
        with session_of(agent, scope) as client:
            for command in ("console", "console-complete"):
                with pytest.raises(CommandError) as refused:
                    client.request(command)
                assert refused.value.code == "scope"
