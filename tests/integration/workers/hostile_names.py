"""A worker whose names are attacks: on terminals, pages, graphs and logs.

Everything that may be shown is called so: types, modules, functions, files of code,
attributes (as far as an identifier can be hostile), tasks, threads, and itself.
"""

import sys
import threading
import types

import stage

import liveheap

ATTACK = '\x1b[2J\x1b]0;owned\x07\r\n\u202ereversed\u2066</script><img src=x>"\\$(id)'
LONG = "N" * (1 << 20)
HELD = []


def named(name: str) -> object:
    """Return an instance of a class of a name, in a module of that name."""
    made = type(name, (), {"__module__": name, "__slots__": ("__dict__",)})()
    made.held = [bytearray(1000)]
    setattr(made, name, [1])
    vars(made)["identifier\u0645\u0631\u062d\u0628\u0627"] = [2]
    return made


def waiting_in(name: str) -> types.GeneratorType:
    """Return a generator whose function and file are called so."""
    space: dict = {}
    exec(compile("def f(x):\n yield x", f"/{name}.py", "exec"), space)
    space["f"].__qualname__ = name
    code = space["f"].__code__.replace(co_name=name, co_filename=f"/{name}")
    generator = types.FunctionType(code, space)(Account(name))
    next(generator)
    return generator


class Account:
    def __init__(self, owner: object) -> None:
        self.owner = owner
        setattr(self, ATTACK, owner)


def work(name: str) -> None:
    with liveheap.task(name):
        STOP.wait()


STOP = threading.Event()
for attack in (ATTACK, LONG, LONG + ATTACK):
    HELD += [named(attack), waiting_in(attack), Account({attack: named(attack)})]
    sys.modules[attack] = types.ModuleType(attack)
    globals()[attack] = [HELD[-1]]
stage.start_agent()
for attack in (ATTACK, LONG):
    threading.Thread(target=work, args=(attack,), name=attack, daemon=True).start()
stage.ready()
stage.until_stdin_closes()
STOP.set()
