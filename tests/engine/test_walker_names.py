"""Program text leaves the process, data does not."""

import json
import pickle
import sys
import types

import pytest
import stream
import walks

MODULE_NAMES = {"module_level_name": 1}


class Owner:
    def __init__(self):
        self.attribute_name = [1]


class OwnDict:
    pass


def uses_constants(mapping):
    return mapping["a constant, not an identifier"], mapping["constant_identifier"]


KEYED = {"a constant, not an identifier": [1], "constant_identifier": [2]}
LONG = "ä" * 300
OWNER = Owner()
OWN_DICT = OwnDict()
OWN_DICT.__dict__ = {"own_dict_name": [3]}
LONG_TYPE = type(LONG, (), {})()
LATE = OwnDict()
setattr(LATE, LONG, [4])


def secret(kind: str) -> str:
    """A text that stands in no code object."""
    return f"{kind}{0x5EC2E7:x}".replace("-", "_" if kind.startswith("i_") else "-")


class Secrets:
    """Secrets in every place that holds data."""

    def __init__(self):
        self.texts: list[str] = []
        self.holder = OwnDict()
        self.holder.value = self.text("attribute-value")
        self.interned = sys.intern(self.text("i_interned"))
        self.keys = {self.text("dict-key"): 1, self.text("i_identifier_key"): 2}
        self.interned_key = {sys.intern(self.text("i_interned_key")): 1}
        self.mixed_keys = {1: 2, sys.intern(self.text("i_key_beside_int")): 1}
        self.values = {"constant_identifier": self.text("dict-value")}
        self.in_set = {self.text("set-item")}
        self.nested = [(self.text("tuple-item"),)]
        self.unpickled = pickle.loads(
            pickle.dumps({self.text("i_unpickled_key"): self.text("i_unpickled_value")})
        )
        self.loaded = json.loads(json.dumps({self.text("i_json_key"): 1}))
        self.error = ValueError(self.text("exception argument"))
        self.bytes = self.text("some-bytes").encode()
        self.function = lambda: None
        self.function.__doc__ = self.text("documentation")
        self.strange = OwnDict()
        setattr(self.strange, self.text("attribute name that is none"), 1)
        self.stranger = OwnDict()
        self.stranger.__dict__ = {self.text("key that is no attribute"): 1}
        self.module = types.ModuleType("invented")
        self.module.value = self.text("module-value")
        self.long = self.text("x" * 500)
        self.wide = self.text("é" * 5)
        self.very_wide = self.text("\U0001f600" * 5)
        self.generator = self.generate()
        next(self.generator)

    def text(self, kind: str) -> str:
        self.texts.append(secret(kind))
        return self.texts[-1]

    def generate(self):
        local = self.text("local-value")
        yield local


def close(captured):
    def closure(argument):
        local = argument
        return local, captured

    return closure


SECRETS = Secrets()
CLOSURE = close(1)
MODULES: list[str] = []
NO_MODULES = [
    "".join(parts) for parts in (("pa", "ss word"), ("7", "up"), ("a", "..b"))
]


@pytest.fixture(scope="module")
def raw() -> bytes:
    MODULES.extend(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for key in NO_MODULES:
            patch.setitem(sys.modules, key, types.ModuleType("stub"))
        return walks.raw_child()


@pytest.fixture(scope="module")
def graph(raw: bytes) -> stream.Graph:
    return walks.decode(raw)


def test_no_secret_is_in_the_raw_bytes(raw):
    mark = secret("")
    assert len(SECRETS.texts) >= 20
    assert all(mark in text for text in SECRETS.texts)
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        assert mark.encode(encoding) not in raw


def test_keys_that_are_constants_of_code_are_given(graph):
    for key in KEYED:
        assert graph.strings[id(key)] == key


def test_names_of_modules_types_and_instances_are_given(graph):
    texts = set(graph.strings.values())
    assert {"KEYED", "MODULE_NAMES", "uses_constants", "own_dict_name"} <= texts
    assert {"attribute_name", "__dict__", "__init__"} <= texts


def test_only_dict_keys_and_names_are_given(graph):
    """Each STRING is a key of some dict or a name that a type or code holds."""
    for address, text in graph.strings.items():
        assert address in graph.nodes, text
        assert graph.nodes[address].type.name == "str"


def test_an_attribute_is_named_by_its_field_or_its_key(graph):
    wanted = "Owner" if sys.version_info >= (3, 11) else "dict"
    address = id(OWNER.attribute_name)
    assert f"{wanted}.attribute_name" in walks.reaches(graph, address)


def test_a_module_type_and_code_carry_their_names(graph):
    (owner,) = graph.of_type("Owner")
    assert (owner.type.module, owner.type.name) == (__name__, "Owner")
    codes = {code.name: code for code in graph.codes.values()}
    assert codes["uses_constants"].local_names == ["mapping"]
    assert codes["uses_constants"].file == __file__
    assert codes["uses_constants"].first_line == uses_constants.__code__.co_firstlineno


def test_static_types_have_a_module(graph):
    modules = {record.name: record.module for record in graph.types.values()}
    assert modules["dict"] == "builtins"
    assert modules["module"] == "builtins"
    assert all(modules.values())


def test_texts_are_cut_between_characters(graph):
    assert max(map(len, graph.texts)) <= 256
    cut = "ä" * 128
    assert cut in {record.name for record in graph.types.values()}
    assert all(len(text.encode()) <= 256 for text in graph.strings.values())


def test_types_carry_their_flags(graph):
    flags = {record.name: record.flags for record in graph.types.values()}
    assert flags["Owner"] & 3 == 3
    assert flags["type"] & 64
    assert flags["ValueError"] & 32
    assert flags["dict"] & 16
    assert not flags["dict"] & 1
    assert flags["int"] & 2 == 0


def test_names_of_free_variables_come_last(graph):
    code = graph.codes[id(CLOSURE.__code__)]
    assert code.n_free == 1
    assert code.local_names == ["argument", "local", "captured"]


def test_modules_are_known_by_name(graph):
    names = [name for name in MODULES if name.replace(".", "_").isidentifier()]
    assert [name for name in names if graph.strings.get(id(name)) != name] == []


def test_a_key_of_sys_modules_that_is_no_name_stays_inside(graph):
    assert [key for key in NO_MODULES if id(key) not in graph.nodes] == []
    assert [key for key in NO_MODULES if id(key) in graph.strings] == []
