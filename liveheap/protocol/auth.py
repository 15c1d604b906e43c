"""The handshake: both ends prove that they hold the user's token, before anything else.

Sans-IO. Bytes go into `receive`, bytes come out of `data_to_send`; the caller owns the
socket, the deadline of HANDSHAKE_DEADLINE_S over the whole exchange, and the wait of
FAILURE_DELAY_S before it sends the answer to a wrong proof. PROTOCOL.md, section 1,
has the bytes; the layout is the same for every version, so that any two versions can
tell each other what they speak.

A caller reads at most `wanted` bytes for as long as the handshake is not `done`; then
an unauthenticated peer makes it hold no more than one message. What was read beyond
the last message anyway is `trailing`, and belongs to the Connection.

Whatever a peer sends, only AuthenticationError comes out. If the failing side owes an
answer, `data_to_send` has it: send it, then close. Labels differ by direction, so no
proof can be reflected; nonces are fresh, so none can be replayed; version, scope,
expiry and ident are under the proofs, so none can be exchanged.

Why a callable for the token: an agent that keeps it has it in the heap that it
publishes. It is read once per handshake; only the derived key lives from M1 to M3, in
this object.
"""

from __future__ import annotations

import time
from _operator import _compare_digest as digests_are_equal
from collections.abc import Callable
from typing import NoReturn

from liveheap.errors import LiveheapError, LocalProtocolError
from liveheap.protocol.exchange import (
    FAILURE_DELAY_S,
    HANDSHAKE_DEADLINE_S,
    LATER,
    M1,
    M2_HEAD,
    M4_HEAD,
    MAGIC,
    MAX_IDENT,
    MAX_UNAUTHENTICATED,
    MEANS,
    MIN_VERSION,
    NONCE_BYTES,
    PROOF_BYTES,
    REFUSALS,
    SESSION_ID_BYTES,
    VERSION,
    Agreed,
    Handshake,
    Ident,
    Status,
    Step,
    random_or,
)
from liveheap.protocol.keys import Key, Scope, client_key, hmac_sha256, scope_key

__all__ = [
    "FAILURE_DELAY_S",
    "HANDSHAKE_DEADLINE_S",
    "MAGIC",
    "MAX_UNAUTHENTICATED",
    "MIN_VERSION",
    "VERSION",
    "AgentHandshake",
    "Agreed",
    "ClientHandshake",
    "Ident",
    "Key",
    "Scope",
    "Status",
    "scope_key",
]

AGENT_PROOF = b"liveheap/1 srv\0"
CLIENT_PROOF = b"liveheap/1 cli\0"
FINAL_PROOF = b"liveheap/1 fin\0"


class ClientHandshake(Handshake):
    """The client's side: checks that the agent is genuine before it proves anything."""

    __slots__ = (
        "_expect_pid",
        "_expect_start",
        "_expiry",
        "_ident",
        "_m3",
        "_max_version",
        "_min_version",
        "_scope",
        "_version",
    )
    PEER = "agent"

    def __init__(
        self,
        token_or_key: bytes | Key,
        scope: Scope,
        *,
        expect_pid: int | None = None,
        expect_start: int | None = None,
        expiry: int = 0,
        max_version: int = VERSION,
        min_version: int = MIN_VERSION,
        nonce: bytes | None = None,
    ) -> None:
        super().__init__(Step.CHALLENGE, M2_HEAD.size)
        if isinstance(token_or_key, Key) and token_or_key.expiry:
            expiry = token_or_key.expiry
        self._scope = Scope(scope)
        self._expect_pid = expect_pid
        self._expect_start = expect_start
        self._expiry = expiry
        self._max_version = max_version
        self._min_version = min_version
        self._version = 0
        self._ident = ""
        self._m3 = b""
        self._key = client_key(token_or_key, self._scope, expiry)
        self._m1 = M1.pack(
            MAGIC, max_version, self._scope, 0, expiry, random_or(nonce, NONCE_BYTES)
        )
        self._out += self._m1

    def _advance(self, message: bytes) -> None:
        if self._step is Step.CHALLENGE:
            self._read_challenge(message)
        elif self._step is Step.IDENT:
            self._read_ident(message)
        else:
            self._read_verdict(message)

    def _read_challenge(self, head: bytes) -> None:
        _, version, status, ident_bytes, _ = M2_HEAD.unpack(head)
        if status != Status.GO_ON:
            self._say_why_not(status, version)
        if ident_bytes > MAX_IDENT:
            self._fail("malformed", f"the agent announced an ident of {ident_bytes} B")
        self._version = version
        self._m2 = head
        self._await(Step.IDENT, ident_bytes + PROOF_BYTES)

    def _say_why_not(self, status: int, version: int) -> NoReturn:
        """Turn a refusal into words; it is unauthenticated and says so."""
        if status not in REFUSALS:
            self._fail("refused", f"the agent answered with unknown status {status}")
        code, message, hint = REFUSALS[Status(status)]
        words = {
            "agent": version,
            "client": self._max_version,
            "scope": self._scope.label,
            "means": MEANS[self._scope],
        }
        self._fail(
            code,
            message.format_map(words) + " (said before it proved who it is)",
            hint=hint and hint.format_map(words),
        )

    def _read_ident(self, tail: bytes) -> None:
        ident, proof = tail[:-PROOF_BYTES], tail[-PROOF_BYTES:]
        expected = hmac_sha256(self._key, AGENT_PROOF, self._m1, self._m2, ident)
        if not digests_are_equal(proof, expected):
            self._fail(
                "not-genuine",
                "the agent does not hold this token: not genuine, or another user's",
                hint="check that both ends use the same token file",
            )
        if not self._min_version <= self._version <= self._max_version:
            self._fail(
                "version",
                f"the agent speaks protocol {self._version}, this client "
                f"{self._min_version} to {self._max_version}",
                hint="use a newer liveheap in the worker",
            )
        self._check_ident(ident)
        self._m2 += tail
        self._m3 = hmac_sha256(self._key, CLIENT_PROOF, self._m1, self._m2)
        self._out += self._m3
        self._await(Step.VERDICT, M4_HEAD.size + PROOF_BYTES)

    def _check_ident(self, raw: bytes) -> None:
        try:
            self._ident = raw.decode()
        except UnicodeDecodeError:
            self._fail("malformed", "the agent's ident is not UTF-8")
        if self._expect_pid is None and self._expect_start is None:
            return
        try:
            ident = Ident.parse(self._ident)
        except ValueError:
            self._fail("wrong-worker", "the agent does not say which process it is")
        for word, expected, seen in (
            ("pid", self._expect_pid, ident.pid),
            ("start time", self._expect_start, ident.start_time),
        ):
            if expected is not None and expected != seen:
                self._fail(
                    "wrong-worker",
                    f"another process answers: {word} {seen}, looked for {expected}",
                    hint="the pid may have been reused; see: liveheap ps",
                )

    def _read_verdict(self, m4: bytes) -> None:
        head, proof = m4[:-PROOF_BYTES], m4[-PROOF_BYTES:]
        accepted, granted, _, session_id = M4_HEAD.unpack(head)
        transcript = (self._m1, self._m2, self._m3)
        expected = hmac_sha256(self._key, FINAL_PROOF, *transcript, head)
        if not digests_are_equal(proof, expected):
            self._fail("not-genuine", "the agent's last word has a wrong proof")
        if accepted == LATER:
            self._fail(*REFUSALS[Status.BUSY][:2], hint=REFUSALS[Status.BUSY][2])
        if accepted != 1:
            self._fail("refused", "the agent refused the proof")
        if granted != self._scope:
            self._fail("scope", f"the agent granted scope {granted}, not {self._scope}")
        self._finish(
            Agreed(self._scope, self._version, self._ident, session_id, self._expiry)
        )

    def _forget(self) -> None:
        super()._forget()
        self._m3 = b""


class AgentHandshake(Handshake):
    """The agent's side; reads the token once, when M1 has arrived."""

    __slots__ = (
        "_busy",
        "_ceiling",
        "_expiry",
        "_ident",
        "_max_version",
        "_min_version",
        "_now",
        "_scope",
        "_session_id",
        "_snonce",
        "_token_reader",
        "_version",
    )
    PEER = "client"

    def __init__(
        self,
        token_reader: Callable[[], bytes],
        ident: str | Ident,
        ceiling: Scope,
        *,
        max_version: int = VERSION,
        now: Callable[[], float] = time.time,
        min_version: int = MIN_VERSION,
        nonce: bytes | None = None,
        session_id: bytes | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(Step.HELLO, M1.size)
        self._token_reader = token_reader
        self._ident = str(ident).encode()
        if len(self._ident) > MAX_IDENT:
            raise LocalProtocolError(f"an ident has at most {MAX_IDENT} bytes")
        self._ceiling = Scope(ceiling)
        self._max_version = max_version
        self._min_version = min_version
        self._now = now
        self._snonce = random_or(nonce, NONCE_BYTES)
        self._session_id = random_or(session_id, SESSION_ID_BYTES)
        self._busy = busy
        self._scope = Scope.READ
        self._version = 0
        self._expiry = 0

    def _advance(self, message: bytes) -> None:
        if self._step is Step.HELLO:
            self._read_hello(message)
        else:
            self._read_proof(message)

    def _read_hello(self, m1: bytes) -> None:
        _, highest, scope, key_id, expiry, _ = M1.unpack(m1)
        self._version = min(highest, self._max_version)
        if self._version < self._min_version:
            self._refuse(Status.NO_COMMON_VERSION, f"the client speaks {highest}")
        if not Scope.READ <= scope <= self._ceiling:
            self._refuse(Status.NO_SUCH_SCOPE, f"the client asked for scope {scope}")
        if key_id != 0:
            self._refuse(Status.NO_SUCH_KEY, f"the client named key {key_id}")
        if self._busy():
            self._refuse(Status.BUSY, "too many sessions")
        if expiry and expiry <= self._now():
            self._refuse(Status.EXPIRED, f"the client's key expired at {expiry}")
        self._scope = Scope(scope)
        self._expiry = expiry
        self._read_key()
        head = M2_HEAD.pack(
            MAGIC, self._version, Status.GO_ON, len(self._ident), self._snonce
        )
        body = head + self._ident
        self._m1 = m1
        self._m2 = body + hmac_sha256(self._key, AGENT_PROOF, m1, body)
        self._out += self._m2
        self._await(Step.PROOF, PROOF_BYTES)

    def _read_key(self) -> None:
        try:
            self._key = scope_key(self._token_reader(), self._scope, self._expiry)
        except (LiveheapError, OSError) as exc:
            self._refuse(Status.NO_SUCH_KEY, f"no usable token here: {exc}")

    def _refuse(self, status: Status, why: str) -> NoReturn:
        lowest = self._min_version
        version = lowest if status is Status.NO_COMMON_VERSION else self._version
        self._out += M2_HEAD.pack(MAGIC, version, status, 0, bytes(NONCE_BYTES))
        self._fail(REFUSALS[status][0], why)

    def _read_proof(self, m3: bytes) -> None:
        expected = hmac_sha256(self._key, CLIENT_PROOF, self._m1, self._m2)
        genuine = digests_are_equal(m3, expected)
        accepted = int(genuine)
        if genuine and self._busy():  # others were through before
            accepted = LATER
        session_id = self._session_id if accepted == 1 else bytes(SESSION_ID_BYTES)
        granted = self._scope if accepted == 1 else 0
        head = M4_HEAD.pack(accepted, granted, 0, session_id)
        final = hmac_sha256(self._key, FINAL_PROOF, self._m1, self._m2, m3, head)
        self._out += head + final
        if not genuine:
            self._fail("not-genuine", "the client's proof is wrong")
        if accepted == LATER:
            self._fail("busy", "too many sessions")
        ident = self._ident.decode()
        self._finish(
            Agreed(self._scope, self._version, ident, session_id, self._expiry)
        )
