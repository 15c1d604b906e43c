"""Backrefs: who refers to the objects of a type, merged, up to the roots."""

import pytest
from stream_builder import GREENLET, INTERNAL, GraphBuilder

from liveheap.errors import CommandError
from liveheap_client.analysis import backrefs
from liveheap_client.analysis.graph import HeapGraph


def worker() -> GraphBuilder:
    """A cache with three rows, and a greenlet with two more."""
    b = GraphBuilder()
    row = b.type("worker", "Row", ["owner"])
    cache = b.instance(b.type("worker", "Cache", ["rows"]), [None])
    kept = b.list(b.instance(row, [cache]) for _ in range(3))
    cache.refs = [kept]
    b.module("worker", {"CACHE": cache})
    frame = b.frame(
        b.code("sync", "/app/worker.py", ["rows"]),
        41,
        [b.list(b.instance(row) for _ in range(2))],
    )
    b.root(GREENLET, [("frame", frame)], number=1)
    return b


def tree(b: GraphBuilder, name: str, **options: int) -> backrefs.BackrefNode:
    return backrefs.tree(HeapGraph.decode([b.stream()]), name, **options)


def lines(node: backrefs.BackrefNode, depth: int = 0) -> list[str]:
    edge = f"{node.edge} of " if node.edge else ""
    root = " (root)" if node.root else ""
    own = f"{'  ' * depth}{edge}{node.label} x{node.count}{root}"
    return [own, *(line for c in node.children for line in lines(c, depth + 1))]


def test_the_tree_goes_up_to_the_kinds_of_roots():
    assert lines(tree(worker(), "worker.Row")) == [
        "worker.Row x5",
        "  [*] of list x2",
        "    .rows of worker.Cache x1",
        "      .CACHE of module worker x1 (root)",
        "      .owner of worker.Row x3",
        '    local "rows" of sync() at worker.py:41 x1',
        "      frame of greenlet x1 (root)",
    ]


def test_a_short_name_is_enough():
    assert tree(worker(), "Row").label == "worker.Row"


@pytest.mark.parametrize(
    ("name", "copied"),
    [
        ("Evil\x1b[31m\u202e\n", r"app.Evil\x1b[31m\u202e\x0a"),
        ("Evil\x1b[31m\u202e\n", r"Evil\x1b[31m\u202e\x0a"),
        (r"Plain\x1b", r"app.Plain\x1b"),
        ("InventoryOfEverything", "app.Inven…thing"),
        ("InventoryOfEverything", "Inventory…"),
    ],
)
def test_a_name_copied_from_a_screen_is_understood(name: str, copied: str):
    b = GraphBuilder()
    b.module("app", {"x": b.instance(b.type("app", name))})

    assert tree(b, copied).label == f"app.{name}"


def test_a_code_beyond_unicode_is_no_character():
    with pytest.raises(CommandError) as caught:
        tree(worker(), r"\UffffffffRow")

    assert caught.value.code == "no-such-type"


def test_a_beginning_is_answered_with_what_begins_so():
    b = GraphBuilder()
    b.module("app", {"x": b.instance(b.type("app", "SessionRegistryOfTenants"))})

    for beginning in ("app.S", "Ses"):
        with pytest.raises(CommandError) as caught:
            tree(b, beginning)

        assert caught.value.hint == "did you mean app.SessionRegistryOfTenants?"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Usr", "did you mean __main__.User, str?"),
        ("user", "did you mean __main__.User?"),
        ("app.models.USER", "did you mean __main__.User?"),
        ("Orders", "did you mean b.Order, a.Order?"),
        ("Zebra", "`liveheap histogram` lists the types"),
    ],
)
def test_the_types_named_most_alike_are_proposed(asked: str, answer: str):
    b = GraphBuilder()
    held = [b.instance(b.type("__main__", "User"))]
    held += [b.instance(b.type("a", "Order"))]
    held += [b.instance(b.type("b", "Order")) for _ in range(2)]
    held += [b.leaf("str") for _ in range(50)]
    b.module("worker", {"HELD": b.list(held)})
    with pytest.raises(CommandError) as caught:
        tree(b, asked)
    assert caught.value.hint == answer


def test_an_unknown_type_is_an_error_with_what_comes_close():
    with pytest.raises(CommandError) as caught:
        tree(worker(), "worker.Rwo")
    assert caught.value.code == "no-such-type"
    assert "worker.Row" in str(caught.value.hint)
    with pytest.raises(CommandError) as caught:
        tree(worker(), "qqqqqq")
    assert "histogram" in str(caught.value.hint)


def test_a_type_without_objects_is_unknown():
    b = worker()
    b.type("worker", "Unused")
    with pytest.raises(CommandError):
        tree(b, "worker.Unused")


def test_depth_and_limit_cut_the_tree_and_say_so():
    assert len(lines(tree(worker(), "Row", depth=1))) == 2
    cut = tree(worker(), "Row", limit=1)
    assert len(cut.children[0].children) == 1
    assert cut.children[0].more == 1


def test_the_way_to_a_root_is_kept_however_small_the_limit():
    b = GraphBuilder()
    target = b.instance(b.type("worker", "Held"))
    for i in range(30):
        b.list(b.instance(b.type("noise", f"N{i}", ["x"]), [target]) for _ in range(5))
    b.module("worker", {"HELD": target})
    found = lines(tree(b, "Held", limit=1))
    assert found[1] == "  .HELD of module worker x1 (root)"


def test_cycles_end():
    b = GraphBuilder()
    kind = b.type("worker", "Twin", ["other"])
    left = b.instance(kind, [None])
    left.refs = [b.instance(kind, [left])]
    b.module("worker", {"TWIN": left})
    assert lines(tree(b, "Twin"))[0] == "worker.Twin x2"


def test_a_folded_dict_is_its_owner():
    b = GraphBuilder()
    kind = b.type("worker", "Holder", [(INTERNAL, "__dict__")])
    thing = b.instance(b.type("worker", "Thing"))
    b.module("worker", {"H": b.instance(kind, [b.named_dict({"thing": thing})])})
    assert lines(tree(b, "Thing"))[1:] == [
        "  .thing of worker.Holder x1",
        "    .H of module worker x1 (root)",
    ]


def test_what_nobody_refers_to_ends_in_its_kind_of_root():
    b = GraphBuilder()
    b.instance(b.type("worker", "Lost")).refcount = 2
    assert lines(tree(b, "Lost"))[1:] == ["  C roots x1 (root)"]


def test_liveheaps_own_objects_are_left_out():
    b = GraphBuilder()
    thing = b.instance(b.type("worker", "Thing"))
    b.module("worker", {"T": thing})
    b.module("liveheap.agent", {"seen": b.list([thing])})
    assert lines(tree(b, "Thing"))[1:] == ["  .T of module worker x1 (root)"]


def test_the_picture_has_a_box_for_each_group_and_escapes_its_texts():
    b = worker()
    b.type("worker", 'Od"d')
    b.list([b.instance(b.type("worker", 'Od"d'))])
    dot = tree(b, "Row").to_dot()
    assert dot.startswith("digraph backrefs {")
    assert dot.count("[label=") == 7 + 6
    assert 'label="local \\"rows\\""' in dot
    assert '\\"' in tree(b, 'Od"d').to_dot()


def test_the_json_form_is_plain():
    data = tree(worker(), "Row").to_json()
    assert data["children"][0]["edge"] == "[*]"
    assert set(data) == {"label", "type", "count", "edge", "root", "more", "children"}
