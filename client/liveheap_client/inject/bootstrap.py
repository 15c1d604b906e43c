"""What runs in the worker, once, on its main thread: load the agent, start it, report.

The client sends this file as text, to be executed in a namespace of its own that has
OPTIONS; it imports it for nothing but its path. It may use what every CPython from 3.10
on has, and must let nothing out: no exception, no name, no entry of a path, no thread.

It reports over a named pipe. Nobody at the other end means that the client has given
up: then nothing is done, however late this runs. What it does is said in lines, `name`
and `value` with a tab between them: `began` at first, so that silence tells a worker
that does not get around to it from one that hangs in here.

The agent's modules come from an explicit folder, which is known to the import system
for the time of the import only; unless the worker has a liveheap of its own. All their
names are under `liveheap`, which no program but ours imports, so nothing of the
worker's is shadowed, not even for another thread in between.

That takes some tens of milliseconds, and the main thread has better things to do. So it
is done bit by bit: after SLICE_S this ends with `more`, and is run once more.

A signal of the worker's may arrive while this runs, and its handler raise here what was
meant for the worker's own code (SystemExit, a time limit). So who raised is looked for,
and that signal is sent once more, a moment later.
"""

import _thread
import os
import signal
import sys
import time
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from types import CodeType
from typing import Any

PACKAGE = "liveheap"
ENTRY = "liveheap.agent.injected"
OPTIONS: dict[str, Any] = globals().get("OPTIONS", {})
AGAIN_AFTER_S = 0.05
SLICE_S = 0.008
NEEDED = "_heap" + EXTENSION_SUFFIXES[0]


def main(options: dict[str, Any]) -> None:
    """Report, and do it, unless it is too late for that."""
    try:
        pipe = os.open(options["report"], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if time.time() <= options["until"]:
            tell(pipe, {"began": os.getpid()})
            tell(pipe, attempt(options))
    finally:
        os.close(pipe)


def tell(pipe: int, facts: dict[str, Any]) -> None:
    """Write lines to the client, in one piece."""
    lines = [f"{name}\t{clean(value)}\n" for name, value in facts.items()]
    os.write(pipe, "".join(lines).encode("ascii")[:4000])


def clean(value: object) -> str:
    """Write a value in one line."""
    return str(value).encode("unicode_escape").decode("ascii")[:1000]


def attempt(options: dict[str, Any]) -> dict[str, Any]:
    """Return what came of it."""
    began = time.perf_counter()
    try:
        facts = start(options)
    except BaseException as exc:
        facts = {"state": "failed", "error": f"{type(exc).__name__}: {exc}"}
        if send_again(exc):
            facts = {"state": "busy", "error": "a signal came in between"}
    return {**facts, "seconds": time.perf_counter() - began}


def start(options: dict[str, Any]) -> dict[str, Any]:
    """Import the agent and start it."""
    is_patched = not isinstance(_thread.start_new_thread, type(len))
    if is_patched and _thread.get_native_id() != os.getpid():
        return {"state": "wrong-thread"}
    forget_if_broken()
    names = frozenset(sys.modules)
    importing = half_imported(names)
    if importing:
        return {"state": "busy", "error": f"it is importing {importing}"}
    package, problem = "its own", ""
    if getattr(sys.modules.get(PACKAGE), "__path__", []) == [folder_of(options)]:
        problem = "it is being loaded"
    elif PACKAGE not in sys.modules:
        problem = import_its_own() if has_its_own() else "none is installed there"
    if problem:
        package = "brought"
        if not options["folder"]:
            return {"state": "missing", "error": problem}
        if not fits(options):
            return {"state": "unfit", "error": f"the engine is not {NEEDED}"}
        if not import_from(options):
            return {"state": "more"}
        names = frozenset(name for name in names if not is_ours(name))
    entry = __import__(ENTRY, None, None, ["begin"])
    version = sys.modules[PACKAGE].__version__
    facts = entry.begin(version, options["settings"], names)
    return {"package": package, "version": version, **facts}


def half_imported(names: frozenset[str]) -> "str | None":
    """Return a module of the standard library that another thread is importing."""
    for name in names:
        if name.partition(".")[0] in sys.stdlib_module_names:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):
                return name
    return None


def has_its_own() -> bool:
    """Whether a liveheap that can do this is installed where the worker looks."""
    spec = PathFinder.find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if os.path.exists(os.path.join(folder, "agent", "injected.py")):
            return True
    return False


def folder_of(options: dict[str, Any]) -> str:
    """Return where the package that was brought lies."""
    return os.path.join(options["folder"], PACKAGE)


def is_ours(name: str) -> bool:
    """Whether a module is one of the agent's."""
    return name.partition(".")[0] == PACKAGE


def forget_if_broken() -> None:
    """Take out what a client has left that was killed before it was all there."""
    package = sys.modules.get(PACKAGE)
    if package is not None and ENTRY not in sys.modules:
        places = list(getattr(package, "__path__", []))
        if places and not os.path.isdir(places[0]):
            forget()


def import_its_own() -> str:
    """Import the worker's own liveheap; return what is wrong with it, if anything."""
    try:
        __import__(ENTRY)
    except Exception as exc:
        forget()
        return f"its own does not load: {type(exc).__name__}: {exc}"
    return ""


def forget() -> None:
    """Take out what an import that failed has left."""
    for name in list(sys.modules):
        if is_ours(name):
            sys.modules.pop(name, None)


def fits(options: dict[str, Any]) -> bool:
    """Whether the engine that was brought is for this interpreter and C library."""
    names = os.listdir(folder_of(options))
    return any("_heap" + suffix in names for suffix in EXTENSION_SUFFIXES)


def import_from(options: dict[str, Any]) -> bool:
    """Import from the folder that was brought, for a while; say whether that is all.

    No way back to the folder is left.
    """
    until = time.perf_counter() + SLICE_S
    on_main = _thread.get_native_id() == os.getpid()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import_package(options)
        for name in options["order"]:
            if name in sys.modules:
                continue
            if on_main and time.perf_counter() > until:
                return False
            if is_ours(name):
                __import__(name)
            elif name in sys.stdlib_module_names:
                import_if_there(name)
        __import__(ENTRY)
    except BaseException:
        forget()
        raise
    finally:
        sys.dont_write_bytecode = writes
        for path in list(sys.path_importer_cache):
            if path.startswith(options["folder"]):
                sys.path_importer_cache.pop(path, None)
    return True


def import_package(options: dict[str, Any]) -> None:
    """Make the package known, with the folder for its path."""
    if PACKAGE in sys.modules:
        return
    folder = folder_of(options)
    init = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location(PACKAGE, init, submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    if options["in_memory"]:
        load_in_memory(folder)


def import_if_there(name: str) -> None:
    """Import a module of the standard library that another version may not have."""
    try:
        __import__(name)
    except ImportError:
        return


def load_in_memory(folder: str) -> None:
    """Load the engine from memory, where no mount lets code be mapped from files."""
    full = PACKAGE + "._heap"
    for name in os.listdir(folder):
        if not (name.startswith("_heap.") and name.endswith(".so")):
            continue
        memory = os.memfd_create(PACKAGE, os.MFD_CLOEXEC)
        try:
            with open(os.path.join(folder, name), "rb") as file:
                os.write(memory, file.read())
            path = f"/proc/self/fd/{memory}"
            loader = ExtensionFileLoader(full, path)
            spec = spec_from_file_location(full, path, loader=loader)
            module = module_from_spec(spec)  # type: ignore[arg-type]
            loader.exec_module(module)
        finally:
            os.close(memory)
        sys.modules[full] = module
        setattr(sys.modules[PACKAGE], "_heap", module)  # noqa: B010 - mypy's wish


def send_again(exc: BaseException) -> bool:
    """Send the signal again whose handler raised this; return whether one did."""
    number = int(signal.SIGINT) if isinstance(exc, KeyboardInterrupt) else None
    trace = exc.__traceback__
    while trace is not None and number is None:
        frame = trace.tb_frame
        for name in frame.f_code.co_varnames[: min(2, frame.f_code.co_argcount)]:
            value = frame.f_locals.get(name)
            if isinstance(value, int) and handles(frame.f_code, value):
                number = int(value)
        trace = trace.tb_next
    if number is None:
        return False

    def later(number: int) -> None:
        time.sleep(AGAIN_AFTER_S)
        os.kill(os.getpid(), number)

    _thread.start_new_thread(later, (number,))
    return True


def handles(code: CodeType, number: int) -> bool:
    """Whether this code is the handler of that signal."""
    if not 0 < number < signal.NSIG:
        return False
    handler = signal.getsignal(number)
    return getattr(getattr(handler, "__func__", handler), "__code__", None) is code


if OPTIONS:
    main(OPTIONS)
