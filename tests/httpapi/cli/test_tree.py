from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from httpapi.cli.tree_output import drawn
from httpapi.client.lineage import grown
from httpapi.wire.lineage import LineageRecord, ParentRecord, parse_lineage

if TYPE_CHECKING:
    from tests.httpapi.cli.conftest import Drystone
    from tests.kit.running_server import RunningServer

BLOCK = 65536
AT = "2026-11-22T17:47:08Z"
IDS = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(3000)]


def pushed(server: RunningServer, name: str, data: bytes, **attributes: object) -> str:
    image = server.new_image(name=name, **attributes)
    octets = {"Content-Type": "application/octet-stream"}
    assert server.call("PUT", f"/v2/images/{image}/file", data, octets).status == 204
    return image


def a_family(server: RunningServer) -> list[str]:
    old = pushed(server, "old", b"a" * 3 * BLOCK)
    new = pushed(server, "new", b"b" + b"a" * (3 * BLOCK - 1), parent_image_ref=old)
    newest = pushed(server, "newest", b"c" + b"a" * (3 * BLOCK - 1), parent_image_ref=new, os_hidden=True)
    return [old, new, newest]


def test_each_parent_comes_before_its_children(server: RunningServer, drystone: Drystone) -> None:
    old, new, newest = a_family(server)
    other = pushed(server, "other", b"")
    lines = [f"{old}\told\t\t{3 * BLOCK}\t{3 * BLOCK}", f"{new}\tnew\t{old}\t{3 * BLOCK}\t{BLOCK}"]
    assert drystone("tree") == (0, "\n".join([f"{other}\tother\t\t0\t0", *lines, ""]), "")
    hidden = f"{newest}\tnewest\t{new}\t{3 * BLOCK}\t{BLOCK}"
    for named in ("old", "newest", new, newest.upper()):
        assert drystone("tree", named) == (0, "\n".join([*lines, hidden, ""]), "")
    assert drystone("tree", "--all", "--quiet")[1].split() == [other, old, new, newest]
    assert drystone("tree", "nobody")[0] == 1


def test_a_parent_that_lists_do_not_show_is_still_drawn(server: RunningServer, drystone: Drystone) -> None:
    old = pushed(server, "old", b"a", os_hidden=True)
    new = pushed(server, "new", b"a", parent_image_ref=old)
    assert drystone("tree", "--quiet")[1].split() == [old, new]


def test_json_says_whether_the_parent_is_seen(server: RunningServer, drystone: Drystone) -> None:
    old, new, newest = a_family(server)
    assert server.call("DELETE", f"/v2/images/{old}").status == 204
    code, out, _ = drystone("tree", "new", "--json")
    found = json.loads(out)
    assert code == 0
    assert [record["id"] for record in found] == [new, newest]
    assert [record["parent"] for record in found] == [{"id": old, "visible": False}, {"id": new, "visible": True}]
    assert [parse_lineage(record).to_json() for record in found] == found


def record(number: int, parent: int | None, name: str | None = "disk", **values: object) -> LineageRecord:
    above = None if parent is None else ParentRecord(IDS[parent], visible=False)
    fixed = {"status": "active", "created_at": AT, "size": 3 * BLOCK, "changed_size": BLOCK} | values
    return LineageRecord(id=IDS[number], name=name, parent=above, **fixed)  # type: ignore[arg-type]


def test_the_tree_says_sizes_and_names_a_parent_that_is_not_seen_by_its_id_alone() -> None:
    known = [
        record(1, 0, "[red]one"),
        record(2, 1, "two\x1b", changed_size=None),
        record(3, 0, None, size=None, changed_size=None, status="queued"),
        record(4, None, "four"),
    ]
    out = StringIO()
    for branch in grown({each.id: each for each in reversed(known)}):
        Console(file=out, width=100).print(drawn(branch))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "four  00000004  192.0 KiB",
        "deleted or not visible  00000000",
        "├── [red]one  00000001  192.0 KiB, changed 64.0 KiB",
        "│   └── two\\x1b  00000002  192.0 KiB",
        "└── -  00000003  queued",
    ]


def test_a_very_long_line_and_one_that_bites_its_tail_are_told_whole() -> None:
    long = {IDS[n]: record(n, n - 1 if n else None) for n in range(3000)}
    [branch] = grown(long)
    assert [each.id for each in branch.records()] == IDS
    assert branch.has(IDS[-1])
    Console(file=StringIO(), width=100).print(drawn(branch))
    ring = {IDS[n]: record(n, (n + 1) % 3) for n in range(3)} | {IDS[7]: record(7, 7)}
    assert sorted(each.id for branch in grown(ring) for each in branch.records()) == [*IDS[:3], IDS[7]]


def test_coalesce_gives_the_task(server: RunningServer, drystone: Drystone) -> None:
    _, new, _ = a_family(server)
    code, out, _ = drystone("coalesce", "new")
    [task] = server.call("GET", f"/v2/images/{new}/tasks").json["tasks"]
    assert (code, out.strip(), task["type"]) == (0, task["id"], "coalesce")
    assert json.loads(drystone("coalesce", "new", "--json")[1])["id"] == task["id"]
    queued = server.new_image(name="queued")
    code, _, err = drystone("coalesce", queued)
    assert code == 1
    assert "has no data" in err
