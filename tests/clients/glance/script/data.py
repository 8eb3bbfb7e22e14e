"""Bytes in and out: sizes, ranges, types, states."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, rea, root, sam

OCTETS = {"Content-Type": "application/octet-stream"}
RANGES = (
    "bytes=0-4", "bytes=5-", "bytes=-3", "bytes=-30", "bytes=0-100", "bytes=9-9", "bytes=20-", "bytes=5-2",
    "bytes=0-1,3-4",
    "bytes=", "bytes=-0", "bytes=-", "foo", "lines=0-1", "bytes=0-4 ", "bytes=a-b", "BYTES=0-4",
)  # fmt: skip

STEPS = [
    ann.new("a", name="data"),
    *(ann("GET", path) for path in ("/v2/images/{a}/file", "/v2/images/x/file")),
    ann("PUT", "/v2/images/{a}/file", raw=b"0123456789"),
    *(
        ann("PUT", "/v2/images/{a}/file", raw=b"{}", headers={"Content-Type": kind})
        for kind in ("application/json", "text/plain")
    ),
    ann.put("a", x_openstack_image_size="11"),
    ann.put("a", x_openstack_image_size="9"),
    ann.put("a", x_openstack_image_size="x"),
    ann.put("a", x_openstack_image_size="-1"),
    ann("GET", "/v2/images/{a}"),
    *(who.put("a") for who in (rea, bob, anon)),
    ann.put("a", x_openstack_image_size="10"),
    ann("GET", "/v2/images/{a}"),
    ann.put("a"),
    ann("GET", "/v2/images/{a}/file"),
    *(ann("GET", "/v2/images/{a}/file", headers={"Range": each}) for each in RANGES),
    ann("GET", "/v2/images/{a}/file", headers={"Content-Range": "bytes 2-4/10"}),
    ann("GET", "/v2/images/{a}/file", headers={"Content-Range": "bytes 2-4/*"}),
    ann("GET", "/v2/images/{a}/file", headers={"Content-Range": "bytes 2-40/10"}),
    ann("GET", "/v2/images/{a}/file", headers={"If-None-Match": "*"}),
    ann("GET", "/v2/images/{a}/file", headers={"If-Match": '"x"'}),
    ann("GET", "/v2/images/{a}/file", headers={"Accept": "application/json"}),
    ann("GET", "/v2/images/{a}/file", headers={"Accept": ""}),
    ann("GET", "/v2/images/{a}/file?prefer=nothing"),
    ann("GET", "/v2/images/{a}/file", {}),
    ann("HEAD", "/v2/images/{a}/file"),
    *(who("GET", "/v2/images/{a}/file") for who in (sam, rea, bob, root)),
    ann.new("empty", name="of no bytes"),
    ann.put("empty", b""),
    ann("GET", "/v2/images/{empty}"),
    ann("GET", "/v2/images/{empty}/file"),
    ann("GET", "/v2/images/{empty}/file", headers={"Range": "bytes=0-"}),
    ann("POST", "/v2/images", {"name": "no formats"}, keep="bare"),
    ann.put("bare"),
    ann("GET", "/v2/images/{bare}"),
    ann("POST", "/v2/images", {"disk_format": "raw"}, keep="half"),
    ann.put("half"),
    ann.new("iso", disk_format="iso"),
    ann.put("iso", b"no file system"),
    ann("GET", "/v2/images/{iso}"),
    ann.new("qcow2", disk_format="qcow2"),
    ann.put("qcow2", b"no qcow2 at all"),
    ann("GET", "/v2/images/{qcow2}"),
    ann.new("docker", container_format="docker"),
    ann.put("docker", b"not looked at"),
    ann("GET", "/v2/images/{docker}"),
    ann.put("unknown"),
    *(ann(verb, f"/v2/images/{{a}}/{what}") for verb, what in (("PUT", "stage"), ("POST", "import"), ("GET", "stage"))),
    ann("PUT", "/v2/images/{half}/stage", raw=b"x", headers=OCTETS),
    ann("POST", "/v2/images/{a}/import", {"method": {"name": "glance-direct"}}),
    ann("GET", "/v2/images/{a}/tasks"),
    bob("GET", "/v2/images/{a}/tasks"),
    ann("GET", "/v2/images/{a}/locations"),
    ann("POST", "/v2/images/{a}/locations", {"url": "http://x/y"}),
    *(ann("DELETE", "/v2/stores/file/{a}") for _ in range(1)),
    *(who("GET", "/v2/cache") for who in (ann, root)),
]
