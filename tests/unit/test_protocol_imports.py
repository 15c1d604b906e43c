"""What importing the protocol loads, in every worker and in the bridge."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import liveheap

ROOT = Path(liveheap.__file__).parent.parent
HEAVY = {"hashlib", "hmac", "ssl", "_ssl", "_hashlib", "secrets", "random"}
FOREIGN = {
    "threading",
    "socket",
    "select",
    "selectors",
    "subprocess",
    "logging",
    "asyncio",
    "queue",
    "tempfile",
    "numpy",
    "zstandard",
}
PROTOCOL = ("auth", "connection", "exchange", "frames", "keys", "messages", "results")


def modules_after(statement: str, *, site: bool) -> set[str]:
    """The modules of a clean interpreter after a statement."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; "
        "loaded = sorted(sys.modules); import json; print(json.dumps(loaded))"
    )
    flags = ["-I"] if site else ["-I", "-S"]
    done = subprocess.run(
        [sys.executable, *flags, "-c", program],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(done.stdout))


def loads(statement: str, *, site: bool = True) -> set[str]:
    """The modules that a statement adds."""
    return modules_after(statement, site=site) - modules_after("pass", site=site)


@pytest.mark.parametrize("module", PROTOCOL)
def test_the_protocol_loads_no_openssl_no_json_and_nothing_with_threads(module):
    loaded = loads(f"import liveheap.protocol.{module}")
    assert f"liveheap.protocol.{module}" in loaded
    assert loaded & (HEAVY | FOREIGN | {"json"}) == set()


@pytest.mark.parametrize(
    "module", ["protocol.auth", "protocol.keys", "tokens", "registry", "errors"]
)
def test_the_bridge_can_import_what_it_needs_without_site_packages(module):
    loaded = loads(f"import liveheap.{module}", site=False)
    assert f"liveheap.{module}" in loaded
    assert "msgpack" not in loaded
    assert loaded & (HEAVY | FOREIGN) == set()


def test_the_handshake_does_not_load_the_messages():
    loaded = loads("import liveheap.protocol.auth")
    assert "liveheap.protocol.messages" not in loaded
    assert "msgpack" not in loaded


def test_the_package_itself_loads_nothing_of_ours():
    loaded = loads("import liveheap.protocol")
    assert {name for name in loaded if name.startswith("liveheap.protocol.")} == set()


@pytest.mark.parametrize(
    "speak", ["shake(client_side(), agent_side())", "converse(*connected())"]
)
def test_speaking_loads_no_module_that_importing_did_not(speak):
    """The agent's thread must import nothing (the import lock may be a greenlet's)."""
    tests = str(Path(__file__).parent.parent)
    modules_after(
        f"sys.path.insert(0, {tests!r}); from peers import *; "
        f"before = set(sys.modules); {speak}; "
        "assert set(sys.modules) == before, set(sys.modules) - before",
        site=True,
    )


def test_without_the_interpreters_own_sha_256_hashlib_serves():
    modules_after(
        "sys.modules['_sha2'] = sys.modules['_sha256'] = None; "
        "from liveheap.protocol.keys import scope_key, Scope; "
        "assert scope_key(bytes(range(32)), Scope.GRAPH).hex()[:8] == '723fa15f'; "
        "assert 'hashlib' in sys.modules",
        site=False,
    )
