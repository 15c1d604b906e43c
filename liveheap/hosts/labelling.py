"""The frameworks' hooks: in place as soon as a framework is imported, gone at the end.

No framework is imported for this. Those that are there already are hooked at once; for
the others a finder stands first in `sys.meta_path`, which finds nothing by itself: for
the few modules that it waits for it asks the finders behind it, and has the hook put
in place once their loader has run the module. The module's loader and spec are what
they are without us before its first line runs.

A hook that fails is one framework without labels; the import goes on as it would.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from liveheap.hosts import (
    asgi,
    celery,
    dramatiq,
    gevent_spawn,
    gunicorn,
    huey,
    mrq,
    routes,
    rq,
)
from liveheap.hosts.wrapping import Undo

Hook = Callable[[ModuleType], Undo]

HOOKS: Mapping[str, Hook] = {
    **celery.HOOKS,
    **rq.HOOKS,
    **mrq.HOOKS,
    **dramatiq.HOOKS,
    **huey.HOOKS,
    **gunicorn.HOOKS,
    **asgi.HOOKS,
    **routes.HOOKS,
    **gevent_spawn.HOOKS,
}


class Labelling:
    """The hooks of one process."""

    def __init__(self, hooks: Mapping[str, Hook] = HOOKS) -> None:
        self.failed: list[str] = []
        self._hooks = hooks
        self._undos: dict[str, Undo] = {}
        self._finder = Finder(hooks, self._put_in)

    @property
    def hooked(self) -> list[str]:
        """Return the frameworks that are hooked."""
        return sorted({name.partition(".")[0] for name in list(self._undos)})

    def install(self) -> None:
        """Hook what is there, and wait for the rest, once. On the main thread."""
        if self._finder in sys.meta_path:
            return
        self.failed.clear()
        sys.meta_path.insert(0, self._finder)
        for name in self._hooks:
            module = sys.modules.get(name)
            if module is not None and is_whole(module) and name not in self._undos:
                self._put_in(name, module)

    def remove(self) -> None:
        """Take all of it away again."""
        with suppress(ValueError):
            sys.meta_path.remove(self._finder)
        while self._undos:
            name, undo = self._undos.popitem()
            try:
                undo()
            except Exception:
                self.failed.append(name)

    def _put_in(self, name: str, module: ModuleType) -> None:
        try:
            self._undos[name] = self._hooks[name](module)
        except Exception:
            self.failed.append(name)


class Finder:
    """Waits for a framework's module in front of those that find it."""

    def __init__(
        self, hooks: Mapping[str, Hook], put_in: Callable[[str, ModuleType], None]
    ) -> None:
        self._names = frozenset(hooks)
        self._put_in = put_in

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        """Find nothing, but for a framework's module what the others find."""
        if name not in self._names:
            return None
        finders: list[Any] = list(sys.meta_path)
        behind = finders[finders.index(self) + 1 :] if self in finders else []
        for finder in behind:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                return self._watched(spec)
        return None

    def _watched(self, spec: ModuleSpec) -> ModuleSpec:
        if hasattr(spec.loader, "exec_module"):
            loader: Any = Loader(spec.loader, spec.name, self._put_in)
            spec.loader = loader
        return spec


class Loader:
    """A loader that tells when its module has run, under the name it was asked for.

    The module may have given itself another one, as gevent's compiled ones do.
    """

    def __init__(
        self, loader: Any, name: str, put_in: Callable[[str, ModuleType], None]
    ) -> None:
        self._loader = loader
        self._name = name
        self._put_in = put_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module, as the loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, which sees its own loader; then put in the hook."""
        spec = module.__spec__
        if spec is not None and isinstance(spec.loader, Loader):
            spec.loader = self._loader
        if isinstance(getattr(module, "__loader__", None), Loader):
            module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._put_in(self._name, module)


def is_whole(module: ModuleType) -> bool:
    """Whether a module's last line has run."""
    return not getattr(getattr(module, "__spec__", None), "_initializing", False)


LABELLING = Labelling()
