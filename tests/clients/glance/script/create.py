"""Images are made: every attribute, with values that are good and that are not."""

from __future__ import annotations

from typing import Any

from tests.clients.glance.steps import ann, anon, bob, odd, rea, root, svc

ID = "6e0acd3c-0001-4fff-8fff-0123456789ab"
JSON = {"Content-Type": "application/json"}
GOOD: list[dict[str, Any]] = [
    {}, {"name": "plain"}, {"name": ""}, {"name": None}, {"name": "x" * 255}, {"name": "größe 大"}, {"name": "🪨"},
    {"visibility": "private"}, {"visibility": "shared"}, {"visibility": "community"}, {"protected": True},
    {"os_hidden": True}, {"min_disk": 0, "min_ram": 0}, {"min_disk": 2147483647}, {"min_ram": 512},
    {"disk_format": "qcow2", "container_format": "bare"}, {"disk_format": None}, {"container_format": None},
    *({"disk_format": each} for each in ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "vdi", "iso", "ploop")),
    *({"container_format": each} for each in ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")),
    {"tags": []}, {"tags": ["one", "two"]}, {"tags": ["one", "one"]}, {"tags": ["", "with space", "ü"]},
    {"owner": "stone"}, {"owner": None}, {"an_extra": "value"}, {"an_extra": ""},
    {"trait:X": "required", "owner_specified.openstack.md5": "", "hw/slash": "1", "hw~tilde": "2"},
    {"x" * 255: "long"}, {"long": "v" * 4000}, {"architecture": "x86_64", "os_distro": "debian", "os_version": "12"},
    {"description": "of stone", "instance_uuid": ID}, {"kernel_id": ID, "ramdisk_id": ID}, {"kernel_id": None},
    {f"p{number}": "" for number in range(128)}, {"tags": [str(number) for number in range(128)]},
]  # fmt: skip
BAD: list[Any] = [
    {"name": 7}, {"name": "x" * 256}, {"name": ["a"]}, {"visibility": "secret"}, {"visibility": None},
    {"visibility": 1},
    {"visibility": "public"}, {"protected": "true"}, {"protected": None}, {"protected": 1}, {"os_hidden": "false"},
    {"min_disk": -1}, {"min_disk": "3"}, {"min_disk": 1.5}, {"min_disk": None}, {"min_disk": 2147483648},
    {"min_ram": -1},
    {"min_ram": True}, {"disk_format": "floppy"}, {"disk_format": ""}, {"disk_format": 1}, {"container_format": "box"},
    {"tags": None}, {"tags": "one"}, {"tags": [1]}, {"tags": ["x" * 256]}, {"tags": {"a": 1}}, {"owner": 7},
    {"owner": "wood"}, {"id": "x"}, {"id": None}, {"id": "7F" + ID.upper()[2:]}, {"an_extra": None}, {"an_extra": 7},
    {"an_extra": {}},
    {"an_extra": True}, {"an_extra": []}, {"x" * 256: ""}, {"": "nameless"}, {"kernel_id": "x"}, {"kernel_id": ""},
    {"ramdisk_id": 7}, {"architecture": None}, {"os_version": 12},
    *({key: value} for key, value in (
        ("status", "active"), ("status", None), ("checksum", "x"), ("checksum", None), ("size", 1), ("size", "1"),
        ("virtual_size", 1), ("created_at", "2026-01-01T00:00:00Z"), ("updated_at", ""), ("os_hash_algo", "md5"),
        ("os_hash_value", "x"), ("direct_url", "http://x"), ("self", "x"), ("file", "x"), ("schema", "x"),
        ("stores", "x"),
        ("locations", []), ("locations", [{"url": "http://x/y", "metadata": {}}]), ("location", "x"),
        ("deleted", "x"), ("deleted", True), ("deleted_at", "x"), ("os_glance_x", "x"), ("os_glance_import_task", "x"),
    )),
    {f"p{number}": "" for number in range(129)}, {"tags": [str(number) for number in range(129)]},
    [], [1], "text", 7, None, True,
]  # fmt: skip

STEPS = [
    *(ann("POST", "/v2/images", each) for each in GOOD),
    *(ann("POST", "/v2/images", each) for each in BAD if each is not None),
    ann("POST", "/v2/images"),
    *(
        ann("POST", "/v2/images", raw=raw, headers=JSON)
        for raw in (b"", b"{", b"null", b"\xff\xfe", b'{"a": NaN}', b"{}x")
    ),
    ann("POST", "/v2/images", raw=b'{"name": "twice", "name": "again"}', headers=JSON),
    *(
        ann("POST", "/v2/images", raw=b"{}", headers={"Content-Type": kind})
        for kind in ("text/plain", "application/xml")
    ),
    ann("POST", "/v2/images", raw=b"{}"),
    ann("POST", "/v2/images?name=of-the-query", {"name": "of the body"}),
    ann("POST", "/v2/images", {"id": ID, "name": "chosen"}),
    ann("POST", "/v2/images", {"id": ID, "name": "again"}),
    bob("POST", "/v2/images", {"id": ID, "name": "of another"}),
    ann("GET", f"/v2/images/{ID}"),
    ann("GET", f"/v2/images/{ID.upper()}"),
    ann("DELETE", f"/v2/images/{ID}"),
    ann("POST", "/v2/images", {"id": ID, "name": "after its deletion"}),
    *(who("POST", "/v2/images", {"name": who.name}) for who in (rea, odd, svc, anon, root)),
    *(root("POST", "/v2/images", each) for each in ({"visibility": "public"}, {"owner": "wood"}, {"owner": ""})),
    rea("POST", "/v2/images", {"visibility": "public"}),
    rea("POST", "/v2/images", {"name": 7}),
]
