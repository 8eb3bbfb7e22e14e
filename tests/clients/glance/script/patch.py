"""Images are changed, in both languages of patches."""

from __future__ import annotations

from typing import Any

from tests.clients.glance.steps import ann, anon, bob, odd, rea, root, svc

NEW = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
OLD = {"Content-Type": "application/openstack-images-v2.0-json-patch"}
ID = "6e0acd3c-0001-4fff-8fff-0123456789ab"


def op(name: str, path: object, *value: object) -> dict[str, object]:
    return {"op": name, "path": path, **({"value": value[0]} if value else {})}


def old(name: str, path: str, *value: object) -> dict[str, object]:
    return {name: path, **({"value": value[0]} if value else {})}


CHANGES: list[Any] = [
    [], [op("replace", "/name", "one")], [op("add", "/name", "two")], [op("replace", "/name", None)],
    [op("replace", "/name", "x" * 256)], [op("replace", "/name", 7)], [op("remove", "/name")],
    [op("add", "/colour", "red")], [op("add", "/colour", "blue")], [op("replace", "/colour", "green")],
    [op("remove", "/colour")], [op("remove", "/colour")], [op("replace", "/colour", "grey")],
    [op("add", "/empty", "")], [op("add", "/number", 7)], [op("add", "/nothing", None)],
    [op("add", "/with~1slash", "1"), op("add", "/with~0tilde", "2")], [op("remove", "/with~1slash")],
    [op("add", "/with space", "3")], [op("add", "/trait:X", "required")], [op("add", "/a.b", "4")],
    [op("add", "/a/b", "deep")], [op("add", "/", "nameless")], [op("add", "", {})], [op("add", "colour", "no slash")],
    [op("add", "/colour~2", "bad escape")], [op("add", "/colour~", "bad escape")], [op("add", "/colour/", "end")],
    [op("move", "/name")], [op("copy", "/name")], [op("test", "/name", "two")], [op("", "/name", "x")],
    [op("replace", "/name")], [{"op": "replace", "value": "x"}], [{"path": "/name", "value": "x"}],
    [op("replace", 7, "x")], [7], ["x"], [None], {}, "x", 7, [op("add", "/more", "x") | {"from": "/name"}],
    [op("replace", "/tags", ["a", "b"])], [op("add", "/tags", ["c"])], [op("replace", "/tags", [])],
    [op("remove", "/tags")],
    [op("replace", "/tags", "a")], [op("add", "/tags/-", "d")], [op("add", "/tags/0", "d")],
    [op("replace", "/visibility", "private")], [op("replace", "/visibility", "shared")],
    [op("replace", "/visibility", "community")], [op("replace", "/visibility", "public")],
    [op("replace", "/visibility", "secret")], [op("remove", "/visibility")], [op("replace", "/protected", True)],
    [op("replace", "/protected", "x")], [op("replace", "/protected", False)], [op("replace", "/os_hidden", True)],
    [op("replace", "/os_hidden", False)], [op("replace", "/min_disk", 5)], [op("replace", "/min_disk", -1)],
    [op("replace", "/min_ram", 2147483648)], [op("replace", "/min_ram", "5")], [op("remove", "/min_ram")],
    [op("replace", "/disk_format", "qcow2")], [op("replace", "/disk_format", "floppy")], [op("remove", "/disk_format")],
    [op("replace", "/container_format", None)], [op("replace", "/container_format", "bare")],
    [op("replace", "/owner", "wood")], [op("replace", "/owner", "stone")], [op("replace", "/owner", None)],
    *([op("replace", f"/{each}", "x")] for each in (
        "id", "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at",
        "self", "file", "schema", "direct_url", "location", "deleted", "deleted_at", "os_glance_x",
    )),
    *([op("add", f"/{each}", "x")] for each in ("status", "self", "deleted", "os_glance_x")),
    *([op("remove", f"/{each}")] for each in ("id", "status", "owner", "self", "deleted", "os_glance_x")),
    [op("replace", "/locations", [])], [op("add", "/locations/-", {"url": "http://x/y", "metadata": {}})],
    [op("remove", "/locations/0")], [op("replace", "/kernel_id", ID)], [op("add", "/kernel_id", ID)],
    [op("add", "/kernel_id", "x")], [op("add", "/architecture", 7)],
    [op("add", "/one", "1"), op("add", "/two", "2"), op("remove", "/one")],
    [op("add", "/three", "3"), op("remove", "/unknown")], [op("add", "/four", "4"), op("replace", "/status", "x")],
]  # fmt: skip
# Each on an image of its own, since they are not taken alike.
ALONE: list[Any] = [
    [op("add", "/" + "x" * 256, "")], [op("add", "/kernel_id", None)], [op("add", "/stores", "x")],
    [op("replace", "/stores", "x")], [op("replace", "/name", "🪨")], [op("add", "/direct_url", "x")],
    [op("add", "/locations", [])], [op("add", "/deleted_at", "x")], [op("add", "/checksum", "x")],
]  # fmt: skip
OLD_CHANGES: list[Any] = [
    [], [old("replace", "/name", "old")], [old("add", "/name", "old")], [old("add", "/shape", "round")],
    [old("add", "/shape", "flat")], [old("replace", "/shape", "flat")], [old("replace", "/unknown", "x")],
    [old("remove", "/shape")], [old("remove", "/shape")], [old("remove", "/name")], [old("add", "/with~1slash", "1")],
    [old("add", "/with%2Fslash", "2")], [old("move", "/name")], [old("add", "/a/b", "x")], [old("add", "name", "x")],
    [old("replace", "/tags", ["o"])], [old("replace", "/status", "x")], [op("replace", "/name", "new words")],
    [{"add": "/x", "remove": "/y", "value": "z"}], [old("replace", "/name")], [7], {}, [{"value": "x"}],
    [old("add", "/number", 7)],
]  # fmt: skip

STEPS = [
    ann.new("a", name="first", tags=["t"]),
    ann.new("b", name="with data"),
    ann.put("b"),
    *(ann("PATCH", "/v2/images/{a}", each, headers=NEW) for each in CHANGES),
    ann("GET", "/v2/images/{a}"),
    *(ann("PATCH", "/v2/images/{a}", each, headers=OLD) for each in OLD_CHANGES),
    ann("GET", "/v2/images/{a}"),
    *(
        step
        for number, change in enumerate(ALONE)
        for step in (
            ann.new(f"alone{number}"),
            ann("PATCH", f"/v2/images/{{alone{number}}}", change, headers=NEW),
            ann("GET", f"/v2/images/{{alone{number}}}"),
        )
    ),
    ann("PATCH", "/v2/images/{b}", [op("replace", "/disk_format", "qcow2")], headers=NEW),
    ann("PATCH", "/v2/images/{b}", [op("replace", "/container_format", "ova")], headers=NEW),
    ann("PATCH", "/v2/images/{b}", [op("replace", "/disk_format", "raw")], headers=NEW),
    ann("PATCH", "/v2/images/{b}", [op("replace", "/name", "renamed")], headers=NEW),
    *(
        ann("PATCH", "/v2/images/{a}", [], headers={"Content-Type": kind})
        for kind in (
            "application/json", "application/json-patch+json", "application/octet-stream", "",
            "application/openstack-images-v2.2-json-patch",
            "application/openstack-images-v2.1-json-patch; charset=utf-8",
            "APPLICATION/OPENSTACK-IMAGES-V2.1-JSON-PATCH",
        )
    ),
    *(ann("PATCH", "/v2/images/{a}", raw=raw, headers=NEW) for raw in (b"", b"[", b"\xff", b"null")),
    *(
        who("PATCH", "/v2/images/{a}", [op("add", "/by", who.name)], headers=NEW)
        for who in (rea, bob, odd, svc, anon, root)
    ),
    root("PATCH", "/v2/images/{a}", [op("replace", "/visibility", "public")], headers=NEW),
    bob("PATCH", "/v2/images/{a}", [op("add", "/by", "bob")], headers=NEW),
    ann("PATCH", "/v2/images/{a}", [op("add", "/by", "ann")], headers=NEW),
    ann("PATCH", "/v2/images/{a}", [op("replace", "/visibility", "public")], headers=NEW),
    ann("PATCH", "/v2/images/{a}", [op("replace", "/visibility", "shared")], headers=NEW),
    root("PATCH", "/v2/images/{a}", [op("replace", "/owner", "wood")], headers=NEW),
    ann("PATCH", "/v2/images/{a}", [op("add", "/by", "ann")], headers=NEW),
    bob("PATCH", "/v2/images/{a}", [op("add", "/by", "bob")], headers=NEW),
    ann("PATCH", f"/v2/images/{ID}", [], headers=NEW),
    ann("PATCH", "/v2/images/x", [], headers=NEW),
]  # fmt: skip
