"""Images go away."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, rea, root, sam

NEW = {"Content-Type": "application/openstack-images-v2.1-json-patch"}

STEPS = [
    *(ann.new(name, name=name) for name in ("a", "b", "c")),
    ann.new("kept", name="kept", protected=True),
    ann.put("b"),
    *(who("DELETE", "/v2/images/{a}") for who in (rea, bob, anon)),
    ann("DELETE", "/v2/images/{a}", {}),
    ann("DELETE", "/v2/images/{a}", raw=b"x", headers={"Content-Type": "application/octet-stream"}),
    ann("DELETE", "/v2/images/{a}", headers={"Content-Type": "application/octet-stream"}),
    ann("DELETE", "/v2/images/{a}"),
    *(ann(verb, "/v2/images/{a}") for verb in ("GET", "PATCH")),
    ann("GET", "/v2/images/{a}/file"),
    ann.put("a"),
    ann("GET", "/v2/images?marker={a}"),
    sam("DELETE", "/v2/images/{b}"),
    ann("GET", "/v2/images/{b}/file"),
    root("DELETE", "/v2/images/{c}"),
    *(who("DELETE", "/v2/images/{kept}") for who in (ann, bob, root)),
    ann("PATCH", "/v2/images/{kept}", [{"op": "replace", "path": "/protected", "value": False}], headers=NEW),
    ann("DELETE", "/v2/images/{kept}"),
    *(ann("DELETE", f"/v2/images/{name}") for name in ("x", "6e0acd3c-0001-4fff-8fff-0123456789ab")),
    ann("GET", "/v2/images?sort=name:asc"),
]
