"""The import rules of liveheap, as a test. To change a rule, edit the table below.

One row per room: `room : the rooms it may import`. A room may name only rooms above its
own row, so a circle cannot be written down; `*` means every row above, for the few
modules that put the parts together. `client.x` is liveheap_client.x, any other name x
is liveheap.x; `liveheap` and `client` alone are the two package roots. Lazy and
typing-only imports count; importlib calls are not seen. A new room needs a row.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WINGS = {
    "liveheap": ROOT / "liveheap",
    "liveheap_client": ROOT / "client" / "liveheap_client",
}

MAY_IMPORT = """
    errors           :
    protocol         : errors
    registry         : errors
    tokens           : errors protocol registry
    snapshot         : errors
    memory           : errors
    _heap            :
    unlabelled       :
    tasks            : _heap unlabelled
    labels           : tasks
    history          :
    rails            :
    deltas           : tasks
    process          : memory _heap
    limits           :
    forks            :
    spool            : forks
    counts           : errors
    walk             : errors forks spool
    admission        : errors limits
    hugepages        : errors limits admission
    allocators       : errors _heap
    heap             : errors _heap allocators
    heap             : limits spool counts walk admission hugepages
    commands         : errors protocol snapshot memory tasks history deltas rails
    hosts            : errors tasks _heap unlabelled
    console          : errors hosts _heap
    clone            : protocol
    agent            : console clone
    agent            : errors tokens registry protocol commands hosts process heap
    agent            : tasks forks
    agent            : history memory deltas limits rails
    liveheap         : *
    boot             : liveheap hosts

    client.errors    : errors
    client.asker     : protocol
    client.target    : client.errors
    client.transport : errors client.errors client.target
    client.quantities :
    client.outside   : client.quantities
    client.patience  : client.errors client.transport client.outside
    client.inside    : registry
    client.workers   : registry client.errors client.patience client.inside
    client.credentials : errors tokens protocol client.quantities
    client.otheruser : errors registry tokens protocol client.errors client.transport
    client.otheruser : client.inside
    client.reach     : errors registry protocol client.credentials client.otheruser
    client.reach     : client.errors client.transport client.patience client.workers
    client.rollcall  : errors registry protocol client.transport client.workers
    client.rollcall  : client.credentials client.otheruser
    client.roster    : protocol client.workers client.rollcall
    client.errand    : protocol client.target
    client.bridged   : errors protocol client.errors client.target
    client.behind    : errors protocol client.errors client.target client.transport
    client.behind    : client.patience client.bridged
    client.dial      : errors protocol client.errors client.target client.transport
    client.dial      : client.patience client.workers client.reach client.asker
    client.dial      : client.credentials
    client.dial      : client.errand client.bridged client.behind
    client.session   : errors protocol client.errors client.target client.transport
    client.session   : client.patience client.dial
    client.caller    : protocol client.errors client.target client.dial client.session
    client._graph    :
    client.analysis  : errors protocol snapshot client._graph client.quantities
    client.render    : protocol client.analysis client.quantities
    client.report    : client.render client.quantities
    client.export    : errors snapshot client.errors client.analysis client.quantities
    client.streams   : client.errors
    client.terminal  : client.render client.streams
    client.progress  : client.render client.terminal
    client.commands  : errors protocol snapshot commands client.errors
    client.commands  : client.session client.caller client.analysis
    client.inject    : errors registry liveheap client.errors client.patience
    client.inject    : client.inside client.outside client.workers
    client.abreast   : errors
    client.desk      : client.errors client.terminal client.caller client.dial
    client           :
    client.bridge    : errors protocol client.errors client.transport client.patience
    client.bridge    : client.workers client.reach client.roster client.asker
    client.gateway   : errors tokens registry protocol agent client.errors
    client.gateway   : client.transport client.workers client.reach client.roster
    client.gateway   : client.bridge
    client.launch    : client.errors
    client.arguments : client.errors client.dial client.patience
    client.doctor    : *
    client.handout   : *
    client.stopping  : *
    client.ps        : *
    client.bare      : *
    client.demo      : *
    client.shell     : *
    client.verbs     : *
    client.cli       : *
    client.__main__  : *
"""
# Rooms that put the parts together, by the file that does it (DESIGN 3).
COMPOSITION_ROOTS = {"liveheap.agent.service"}


def full_name(short: str) -> str:
    if short == "liveheap":
        return "liveheap"
    wing, _, room = short.partition(".")
    if wing == "client":
        return f"liveheap_client.{room}".rstrip(".")
    return f"liveheap.{short}"


def read_table(text: str) -> dict[str, set[str]]:
    """Return {room: rooms it may import}; a room may have several rows."""
    table: dict[str, set[str]] = {}
    for row in filter(None, map(str.strip, text.splitlines())):
        short, _, allowed = row.partition(":")
        room = full_name(short.strip())
        above = set(table) - {room}
        names = set(map(full_name, allowed.split()))
        if allowed.strip() == "*":
            names = above
        if names - above:
            raise ValueError(f"{row!r} names {sorted(names - above)}: not above it")
        table[room] = table.get(room, set()) | names
    return table


TABLE = read_table(MAY_IMPORT)


def room_of(dotted: str) -> str | None:
    """Return the room a dotted name lies in, or None if it is not ours."""
    wing, _, rest = dotted.partition(".")
    if wing not in WINGS:
        return None
    room = f"{wing}.{rest.split('.')[0]}".rstrip(".")
    return room if room in TABLE or is_a_module(room) else wing


def is_a_module(room: str) -> bool:
    wing, _, name = room.partition(".")
    path = WINGS[wing] / name
    return path.is_dir() or path.with_suffix(".py").is_file()


def modules() -> Iterator[tuple[Path, str]]:
    for wing, folder in WINGS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield path, ".".join([wing, *parts]).removesuffix(".__init__")


def imports(path: Path, module: str) -> Iterator[str]:
    """Yield every dotted name a file imports, lazy and typing-only ones included."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            prefix = ".".join([*base, node.module] if node.module else base)
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def refused(module: str, names: Iterator[str]) -> list[str]:
    """Return the imported names that the module's row does not allow."""
    room = room_of(module)
    allowed = {None, room, *TABLE[room or ""]}
    if module in COMPOSITION_ROOTS:
        allowed |= {r for r in TABLE if not r.startswith("liveheap_client")}
    return sorted(name for name in names if room_of(name) not in allowed)


MODULES = [pytest.param(path, module, id=module) for path, module in modules()]


def test_both_wings_were_found() -> None:
    assert {str(param.id).split(".")[0] for param in MODULES} == set(WINGS)


def test_the_agent_is_never_allowed_the_client() -> None:
    for room, names in TABLE.items():
        if not room.startswith("liveheap_client"):
            assert not any(name.startswith("liveheap_client") for name in names)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("liveheap.protocol.frames", "liveheap.snapshot.reader"),
        ("liveheap.agent.listener", "liveheap_client.session"),
        ("liveheap_client.analysis.growth", "liveheap_client.session"),
        ("liveheap_client.render.table", "liveheap_client.transport.unix"),
        ("liveheap.snapshot.reader", "liveheap.heap"),
    ],
)
def test_an_import_against_the_arrows_is_refused(module: str, name: str) -> None:
    assert refused(module, iter([name])) == [name]


@pytest.mark.parametrize(("path", "module"), MODULES)
def test_a_room_imports_only_what_its_row_allows(path: Path, module: str) -> None:
    room = room_of(module)
    assert room in TABLE, f"{room} has no row in MAY_IMPORT"
    wrong = refused(module, imports(path, module))
    assert not wrong, f"{module} imports {wrong}; {room} may: {sorted(TABLE[room])}"


def asked_of_an_abc(path: Path) -> Iterator[str]:
    """Yield the abstract classes that isinstance and issubclass are asked about."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    abstract = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            named = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            yield from sorted(named & abstract)


@pytest.mark.parametrize(("path", "module"), MODULES)
def test_the_agent_asks_no_abstract_class(path: Path, module: str) -> None:
    """One remembers each class it was asked about, so the worker's heap would grow."""
    if module.partition(".")[0] == "liveheap":
        assert list(asked_of_an_abc(path)) == []
