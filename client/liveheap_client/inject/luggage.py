"""The agent's package, brought to a worker that cannot import it.

What is brought: the modules of `liveheap`, its engine built for the worker's
interpreter, and msgpack's Python code under a name of ours. The agent exchanges a few
small messages: C code of others has no business in a stranger's process, where it could
never be unloaded again. From this client's own installation where that runs the same
minor version; else from `--agent`, a wheel, or a folder of wheels or of installed
packages.

Modules go with their bytecode, where this interpreter is of the worker's version: to
compile them would stop its main thread for a tenth of a second more.

All of it is needed for the moment of the import, and goes again right after.
"""

import importlib.util
import marshal
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from liveheap_client.errors import InjectError
from liveheap_client.inject.order import order
from liveheap_client.inject.place import Place, saying_where
from liveheap_client.inject.process import Python

PACKAGE = "liveheap"
NEEDED = "liveheap/agent/injected.py"
ENTRY = "liveheap.agent.injected"
LARGEST_FILE = 64 << 20
LARGEST_SUM = 128 << 20
_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_LEFT_OUT = ("liveheap/boot/", "liveheap/snapshot/")
_MSGPACK = ("__init__.py", "exceptions.py", "ext.py", "fallback.py")
_UNCHECKED = (1).to_bytes(4, "little")

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Luggage:
    """Files by their names below a folder."""

    files: Mapping[str, bytes]
    source: str
    """Where they are from, for people."""

    @property
    def order(self) -> list[str]:
        """In which order the worker imports them."""
        return order(self.files, ENTRY)

    @property
    def n_bytes(self) -> int:
        """How much room they need."""
        return sum(map(len, self.files.values())) + 4096 * len(self.files)

    def unpack(self, place: Place) -> None:
        """Write all of it into a place."""
        with saying_where(place.home):
            for name, data in self.files.items():
                place.write(name, data)


def pack(python: Python, agent: Path | None) -> Luggage:
    """Return the luggage for an interpreter.

    Raises:
        InjectError: there is none for it; the hint is the command that gets one.
    """
    if agent is not None:
        return _from_outside(python, agent)
    if not fits(python):
        raise InjectError(
            f"the worker runs Python {python}, this liveheap {_our_version()}: "
            "its engine does not fit there",
            hint=f"{command_for(python)}; then again with --agent agent-{python}",
        )
    files = {
        **_read_tree(_folder_of(PACKAGE), PACKAGE, python),
        **_engine(python),
        **_our_msgpack(),
    }
    return Luggage(_with_bytecode(files), "this installation")


def fits(python: Python) -> bool:
    """Whether the engine of this installation is built for an interpreter."""
    same = python.minor == sys.version_info[:2]
    return same and any(python.tag in suffix for suffix in EXTENSION_SUFFIXES)


def _our_version() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def command_for(python: Python) -> str:
    """Return the command that gets an agent for another interpreter."""
    from liveheap import __version__  # noqa: PLC0415 - the package's root

    return (
        f"python3 -m pip download --no-deps --only-binary=:all: "
        f"--python-version {python} -d agent-{python} liveheap=={__version__}"
    )


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        return Path(place)
    raise InjectError(
        f"this installation has no {package} to bring",
        hint="python3 -m pip install --force-reinstall liveheap",
    )


def _engine(python: Python) -> Files:
    """Return the engine of this installation.

    An editable one keeps it apart from the modules, and in the folder of its sources
    those hide the installed package.
    """
    spec = importlib.util.find_spec(f"{PACKAGE}._heap")
    found = [Path(spec.origin)] if spec is not None and spec.origin else []
    for folder in sys.path:
        found += sorted(Path(folder, PACKAGE).glob(f"_heap.{python.tag}*.so"))
    for path in found:
        return {f"{PACKAGE}/{path.name}": path.read_bytes()}
    raise InjectError(
        "this installation has no engine to bring",
        hint="python3 -m pip install --force-reinstall liveheap",
    )


def _our_msgpack() -> Files:
    folder = _folder_of("msgpack")
    return {
        f"{PACKAGE}/protocol/_msgpack/{name}": (folder / name).read_bytes()
        for name in _MSGPACK
    }


def _from_outside(python: Python, agent: Path) -> Luggage:
    """Return what a wheel or a folder has for an interpreter."""
    try:
        found = dict(_read_outside(agent, python))
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as exc:
        raise InjectError(
            f"--agent {agent}: {getattr(exc, 'strerror', None) or exc}",
            hint="it is a wheel of liveheap, or a folder that holds one",
        ) from exc
    if NEEDED not in found:
        raise InjectError(
            f"--agent {agent} holds no agent that can be brought into a worker",
            hint=command_for(python),
        )
    if not any(name.startswith(f"{PACKAGE}/_heap.") for name in found):
        raise InjectError(
            f"the agent in {agent} is not built for Python {python}, which the worker "
            "runs",
            hint=f"{command_for(python)}; then again with --agent agent-{python}",
        )
    if f"{PACKAGE}/protocol/_msgpack/__init__.py" not in found:
        found |= _our_msgpack()
    same = python.minor == sys.version_info[:2]
    return Luggage(_with_bytecode(found) if same else found, str(agent))


def _read_outside(agent: Path, python: Python) -> Iterator[tuple[str, bytes]]:
    if agent.is_dir():
        for package in (PACKAGE, "msgpack"):
            if (agent / package).is_dir():
                files = _read_tree(agent / package, package, python)
                yield from _sorted_in(files, python)
        wheels = sorted(agent.glob("*.whl"))
    else:
        wheels = [agent]
    for wheel in wheels:
        yield from _sorted_in(dict(_read_wheel(wheel)), python)


def _read_wheel(wheel: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            total += entry.file_size
            if entry.file_size > LARGEST_FILE or total > LARGEST_SUM:
                raise ValueError(f"{wheel.name} is too large for an agent")
            if not entry.is_dir():
                yield entry.filename, archive.read(entry)


def _sorted_in(
    files: Mapping[str, bytes], python: Python
) -> Iterator[tuple[str, bytes]]:
    """Yield what of some packages' files is of use, under the name it gets there."""
    for name, data in files.items():
        if not _NAME.fullmatch(name) or ".." in name:
            continue
        package, _, rest = name.partition("/")
        if package == PACKAGE and _is_wanted(name, python):
            yield name, data
        elif package == "msgpack" and rest in _MSGPACK:
            yield f"{PACKAGE}/protocol/_msgpack/{rest}", data


def _read_tree(folder: Path, package: str, python: Python) -> Files:
    """Return the files of an installed package that are of use."""
    names = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        name: path.read_bytes()
        for path in names
        if _is_wanted(name := f"{package}/{path.relative_to(folder)}", python)
    }


def _is_wanted(name: str, python: Python) -> bool:
    if name.startswith(_LEFT_OUT):
        return False
    return name.endswith(".py") or (name.endswith(".so") and python.tag in name)


def _with_bytecode(files: Mapping[str, bytes]) -> Files:
    """Add each module's bytecode, marked as not to be checked against its source."""
    both = dict(files)
    suffix = f".{sys.implementation.cache_tag}.pyc"
    for name, source in files.items():
        if not name.endswith(".py"):
            continue
        folder, _, last = name.rpartition("/")
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        both[f"{folder}/__pycache__/{last.removesuffix('.py')}{suffix}"] = b"".join(
            (
                importlib.util.MAGIC_NUMBER,
                _UNCHECKED,
                importlib.util.source_hash(source),
                marshal.dumps(code),
            )
        )
    return both
