"""The one predicate: which references own, and which dicts are folded."""

import pytest
from stream_builder import (
    ATTRIBUTE,
    GREENLET,
    INTERNAL,
    INTERNED,
    GraphBuilder,
    Node,
)

from liveheap_client.analysis.graph import HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes


def owned(builder: GraphBuilder, holder: Node) -> list[bool]:
    """Return for each reference of a node whether it owns."""
    graph = HeapGraph.decode([builder.stream()])
    index = graph.address.tolist().index(holder.address // 8)
    row = graph.row
    return [bool(k & 0x80) for k in graph.edge_kind[row[index] : row[index + 1]]]


def folded(builder: GraphBuilder, node: Node) -> bool:
    graph = HeapGraph.decode([builder.stream()])
    index = graph.address.tolist().index(node.address // 8)
    return bool(graph.flags[index] & NodeFlag.FOLDED)


def test_elements_attributes_values_and_locals_own():
    b = GraphBuilder()
    thing = b.leaf()
    holders = [
        b.list([thing]),
        b.instance(b.type("worker", "Row", ["x"]), [thing]),
        b.frame(b.code("f", "f.py", ["x"]), 1, [thing]),
    ]
    assert owned(b, holders[0]) == [True]
    assert owned(b, holders[1]) == [True]
    assert owned(b, holders[2]) == [False, True]  # its code, its local


def test_a_borrowed_local_does_not_own():
    b = GraphBuilder()
    frame = b.frame(b.code("f", "f.py", ["x"]), 1, [], borrowed=[(0, b.leaf())])
    assert owned(b, frame) == [False, False]


def test_immortal_and_interned_objects_are_nobodys():
    b = GraphBuilder()
    none, text = b.leaf("NoneType", 16, refcount=0), b.leaf()
    b.root(INTERNED, [("", text)])
    assert owned(b, b.list([none, text, b.leaf()])) == [False, False, True]


def test_interned_strings_may_stand_as_keys_of_the_interned_dict():
    b = GraphBuilder()
    text = b.leaf()
    b.root(INTERNED, [("interned", b.dict([(text, text)]))])
    assert owned(b, b.list([text])) == [False]


def test_a_key_that_is_program_text_is_not_owned_but_another_is():
    b = GraphBuilder()
    held = b.dict([(b.text("name"), b.leaf()), (b.leaf(), b.leaf())])
    assert owned(b, held) == [False, True, True, True]


def test_a_module_belongs_to_sys_modules_alone():
    b = GraphBuilder()
    other = b.module("other", {})
    user = b.module("user", {"other": other})
    namespace = user.refs[0]
    assert namespace is not None
    assert owned(b, namespace) == [False, False]
    assert owned(b, b.list([other])) == [False]


def test_a_function_does_not_own_its_globals_unless_nobody_else_does():
    b = GraphBuilder()
    module = b.module("worker", {})
    lonely = b.dict()
    code = b.code("f", "f.py")
    inside = b.function(code, module.refs[0])
    template = b.function(code, lonely)
    assert owned(b, inside) == [True, False]
    assert owned(b, template) == [True, True]


def test_a_frame_does_not_own_globals_whatever_the_edge_is_called():
    b = GraphBuilder()
    module = b.module("worker", {})
    frame = b.frame(
        b.code("f", "f.py"), 1, attributes=[None, None, module.refs[0], module.refs[0]]
    )
    assert owned(b, frame) == [False, False, False]


def test_a_type_does_not_own_its_bases():
    b = GraphBuilder()
    kind = b.type(
        "builtins",
        "type",
        [(INTERNAL, "__base__"), (INTERNAL, "__mro__"), (INTERNAL, "__bases__")],
        flags=64,
    )
    base = b.instance(kind)
    bases = b.tuple([base])
    child = b.instance(kind, [base, bases, bases])
    assert owned(b, child) == [False, True, True]
    assert owned(b, bases) == [False]


def test_a_type_belongs_to_the_module_that_made_it():
    b = GraphBuilder()
    kind = b.type("builtins", "type", flags=64)
    thing = b.instance(kind)
    b.type("lib", "Thing", node=thing)
    home = b.module("lib", {"Thing": thing}).refs[0]
    user = b.module("app", {"Thing": thing}).refs[0]
    assert home is not None
    assert user is not None
    assert owned(b, home) == [False, True]
    assert owned(b, user) == [False, False]
    assert owned(b, b.list([thing])) == [False]


def test_a_function_belongs_to_the_module_that_made_it():
    b = GraphBuilder()
    module = b.module("lib", {})
    home = module.refs[0]
    function = b.function(b.code("f", "lib.py"), home)
    assert home is not None
    home.refs += [b.text("f"), function]
    user = b.module("app", {"f": function}).refs[0]
    assert user is not None
    assert owned(b, home) == [False, True]
    assert owned(b, user) == [False, False]


def test_a_local_class_belongs_to_whoever_holds_it():
    b = GraphBuilder()
    kind = b.type("builtins", "type", flags=64)
    local = b.instance(kind)
    b.type("app", "make.<locals>.Thing", node=local)
    b.module("app", {})
    assert owned(b, b.list([local])) == [True]


def test_frames_and_greenlets_do_not_own_their_neighbours():
    b = GraphBuilder()
    frame_type = b.type("builtins", "frame", [(INTERNAL, "f_back")], flags=4)
    code = b.code("f", "f.py")
    outer = b.frame(code, 1, type_=frame_type)
    inner = b.frame(code, 2, attributes=[outer], type_=frame_type)
    greenlet = b.type("greenlet", "greenlet", [(INTERNAL, "parent")])
    hub = b.instance(greenlet)
    assert owned(b, inner) == [False, False]
    assert owned(b, b.instance(greenlet, [hub])) == [False]


def test_an_attribute_called_parent_owns():
    b = GraphBuilder()
    kind = b.type("worker", "Tree", [(ATTRIBUTE, "parent")])
    assert owned(b, b.instance(kind, [b.leaf()])) == [True]


def test_what_a_root_refers_to_it_owns():
    b = GraphBuilder()
    none = b.leaf("NoneType", 16, refcount=0)
    root = b.root(GREENLET, [("greenlet", none)])
    assert owned(b, root) == [True]


def test_a_dict_with_one_owner_is_folded_into_it():
    b = GraphBuilder()
    kind = b.type("worker", "Row", [(INTERNAL, "__dict__")])
    own, shared, kept, plain = b.dict(), b.dict(), b.dict(), b.dict()
    b.list([b.instance(kind, [own]), plain])
    b.list([b.instance(kind, [shared]), b.instance(kind, [shared])])
    b.list([b.instance(kind, [kept]), kept])
    assert folded(b, own)
    assert not folded(b, shared)  # two objects share it, as a Borg does
    assert not folded(b, kept)  # somebody kept vars(obj)
    assert not folded(b, plain)


def test_a_modules_dict_is_folded_whoever_refers_to_it():
    b = GraphBuilder()
    module = b.module("worker", {})
    namespace = module.refs[0]
    assert namespace is not None
    b.list([namespace, b.function(b.code("f", "f.py"), namespace)])
    assert folded(b, namespace)


def test_more_roots_than_there_are_addresses_below_the_objects():
    b = GraphBuilder(base=1 << 16)
    code = b.code("wait", "/app/worker.py", ["rows"])
    for number in range(20_000):
        frame = b.frame(code, 12, [b.list()])
        b.root(GREENLET, [("frame", frame)], number=number)
    graph = HeapGraph.decode([b.stream()])
    assert len(graph.roots) == 20_000
    paths = PathNodes.of(graph)
    reached = {paths.text(int(path)) for path in paths.node_path[graph.record == 1]}
    assert reached == {'greenlet -> wait() at worker.py:12 local "rows" -> list'}


@pytest.mark.parametrize(
    ("filename", "classes", "name"),
    [
        ("/app/manage.py", ["lib.event", "lib.event", "__main__"], "__main__"),
        ("/app/shop/rows.py", ["lib.event", "lib.event", "shop.rows"], "shop.rows"),
        ("/app/shop/__init__.py", ["lib.event", "shop"], "shop"),
        ("/app/rows.py", ["lib.event", "lib.row"], "rows.py"),
        ("", ["lib.event", "shop.rows", "shop.rows"], "shop.rows"),
    ],
)
def test_a_nameless_module_is_not_called_after_a_class_it_imports(
    filename: str, classes: list[str], name: str
):
    b = GraphBuilder()
    held = {}
    for number, module in enumerate(classes):
        made = b.instance(b.type("builtins", "type", flags=4 | 64))
        b.type(module, f"Class{number}", node=made)
        held[f"Class{number}"] = made
    module_node = b.module("", held)
    b.sys_modules().refs[0] = b.leaf("str")  # a key whose text is not known
    if filename:
        namespace = module_node.refs[0]
        assert namespace is not None
        function = b.function(b.code("main", filename), namespace)
        namespace.refs += [b.text("main"), function]
    (module,) = HeapGraph.decode([b.stream()]).modules
    assert module.name == name
