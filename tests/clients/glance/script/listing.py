"""Lists: filters, orders, markers and limits, good and bad."""

from __future__ import annotations

from tests.clients.glance.steps import ann, bob

FILTERS = (
    "name=beta", "name=in:alpha,gamma", 'name=in:"with,comma",alpha', "name=in:", "name=eq:beta", "name=neq:beta",
    "name=", "name=ALPHA",
    "status=queued", "status=active", "status=in:queued,active", "status=nothing", "disk_format=raw",
    "disk_format=in:raw,qcow2",
    "container_format=bare", "container_format=in:ovf,ova", "id={b}", "id=in:{a},{c}", "id=x", "size=10", "size=x",
    "size_min=5", "size_max=5", "size_min=5&size_max=20", "size_min=x", "size_min=-1", "min_disk=5", "min_ram=512",
    "min_disk_min=1", "min_ram_max=600", "protected=true", "protected=false", "protected=True", "protected=x",
    "checksum=781e5e245d69b566979b86e28d23f2c7", "os_hash_value=nothing", "os_hash_algo=sha512",
    "tag=red", "tag=red&tag=blue", "tag=", "tag=nothing", "colour=red", "colour=", "colour=in:red,blue", "unknown=x",
    "trait:X=required", "owner=stone", "owner=wood", "visibility=private", "visibility=x", "member_status=x",
    "created_at=gt:2020-01-01T00:00:00Z", "created_at=lt:2020-01-01T00:00:00Z", "created_at=gte:2020-01-01",
    "created_at=neq:2020-01-01T00:00:00Z", "created_at=2020-01-01T00:00:00Z", "created_at=x:2020-01-01T00:00:00Z",
    "created_at=gt:yesterday", "updated_at=lte:2099-01-01T00:00:00Z", "updated_at=eq:2020-01-01T00:00:00Z",
    "changes-since=2020-01-01T00:00:00Z", "deleted=true", "is_public=true", "architecture=x86_64", "virtual_size=10",
)  # fmt: skip
ORDERS = (
    "sort=name", "sort=name:asc", "sort=name:desc", "sort=size:asc,name:desc", "sort=disk_format,name:asc",
    "sort=status:asc,name:asc",
    "sort=min_disk", "sort=nothing", "sort=name:up", "sort=", "sort=name:asc:desc", "sort_key=name",
    "sort_key=name&sort_dir=asc",
    "sort_key=name&sort_dir=desc", "sort_key=size&sort_key=name&sort_dir=asc",
    "sort_key=size&sort_dir=asc&sort_key=name&sort_dir=desc",
    "sort_key=name&sort_dir=up", "sort_key=nothing", "sort_dir=asc", "sort=name&sort_key=name",
    "sort=name&sort_dir=asc",
    "sort_key=name&sort_dir=asc&sort_dir=desc", "sort_key=id&sort_dir=asc&limit=0", "sort_key=", "sort=name:ASC",
)  # fmt: skip
PAGES = (
    "limit=2", "limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=5000", "limit=2&marker={d}",
    "marker={a}", "marker=x", "marker=6e0acd3c-0001-4fff-8fff-0123456789ab", "marker=", "limit=2&sort=name:asc",
    "limit=2&sort=name:asc&marker={b}", "limit=1&name=in:alpha,beta&sort=name:asc", "limit=1&tag=red&tag=blue",
    "limit=1&colour=red", "limit=2&limit=3", "limit=2&sort=size:asc,name:asc&marker={c}",
)  # fmt: skip

STEPS = [
    ann.new("a", name="alpha", min_disk=5, tags=["red", "blue"], colour="red", architecture="x86_64"),
    ann.new("b", name="beta", disk_format="qcow2", tags=["red"], colour="red", min_ram=512),
    ann.new("c", name="gamma", container_format="ova", protected=True, **{"trait:X": "required"}),
    ann.new("d", name="with,comma", disk_format="iso", colour=""),
    ann.new("e", name=None, visibility="private"),
    ann.put("a"),
    ann.put("c", b"a little more than ten"),
    ann("GET", "/v2/images", whole=True),
    *(ann("GET", f"/v2/images?{query}") for query in (*FILTERS, *ORDERS, *PAGES)),
    ann("GET", "/v2/images", {}),
    ann("GET", "/v2/images?name=%ff"),
    ann("GET", "/v2/images?name=%F0%9F%AA%A8"),
    bob("GET", "/v2/images"),
    bob("GET", "/v2/images?marker={a}"),
    bob("GET", "/v2/images?id={a}"),
]
