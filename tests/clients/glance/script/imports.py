"""Import and staging where no way of import is there, and tasks, which nobody but an import makes."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, odd, rea, root, svc

EVERYBODY = (ann, rea, bob, root, svc, odd, anon)
OCTETS = {"Content-Type": "application/octet-stream"}
STAGE, IMPORT = "/v2/images/{a}/stage", "/v2/images/{a}/import"
WAYS = ("glance-direct", "web-download", "copy-image", "glance-download", "nothing")
TASK = "/v2/tasks/6e0acd3c-0001-4fff-8fff-0123456789ab"
FROM = {"import_from": "file:///etc/hostname", "import_from_format": "raw", "image_properties": {}}
NAMELESS: tuple[object, ...] = ({}, {"method": {}}, {"name": "glance-direct"}, {"method": {"name": 7}})
NO_OBJECTS: tuple[object, ...] = ([], "glance-direct", 7)

STEPS = [
    ann("GET", "/v2/info/import"),
    ann.new("a", name="to be imported"),
    ann.new("b", name="with bytes"),
    ann.put("b"),
    *(who("PUT", STAGE, raw=b"0123456789", headers=OCTETS) for who in EVERYBODY),
    ann("PUT", STAGE, raw=b"0123456789", headers={"Content-Type": "text/plain"}),
    ann("PUT", STAGE),
    ann("PUT", "/v2/images/{b}/stage", raw=b"0123456789", headers=OCTETS),
    ann("PUT", "/v2/images/x/stage", raw=b"0123456789", headers=OCTETS),
    *(ann(verb, STAGE) for verb in ("GET", "POST", "PATCH", "DELETE", "HEAD")),
    ann("GET", "/v2/images/{a}"),
    *(who("POST", IMPORT, {"method": {"name": "glance-direct"}}) for who in EVERYBODY),
    *(ann("POST", IMPORT, {"method": {"name": name, "uri": "http://127.0.0.1/x"}}) for name in WAYS),
    ann("POST", "/v2/images/{b}/import", {"method": {"name": "copy-image"}, "all_stores": True}),
    ann("POST", "/v2/images/x/import", {"method": {"name": "web-download", "uri": "http://127.0.0.1/x"}}),
    ann("POST", IMPORT, {"method": {"name": "glance-direct"}, "all_stores": 7, "stores": ["a"]}),
    *(ann("POST", IMPORT, body) for body in NAMELESS),
    *(ann("POST", IMPORT, body) for body in (*NO_OBJECTS, {"method": "glance-direct"})),
    ann("POST", IMPORT),
    ann("POST", IMPORT, raw=b"{", headers={"Content-Type": "application/json"}),
    *(ann(verb, IMPORT) for verb in ("GET", "PUT", "PATCH", "DELETE", "HEAD")),
    ann("GET", "/v2/images/{a}"),
    *(who("GET", "/v2/images/{a}/tasks") for who in EVERYBODY),
    ann("GET", "/v2/images/{a}/tasks", {}),
    *(ann(verb, "/v2/images/{a}/tasks") for verb in ("POST", "DELETE")),
    ann("GET", "/v2/images/x/tasks"),
    *(who("GET", "/v2/tasks") for who in EVERYBODY),
    *(who("GET", TASK) for who in EVERYBODY),
    root("GET", "/v2/tasks/x"),
    *(root("GET", f"/v2/tasks?{query}") for query in ("status=pending", "status=odd", "type=import", "type=odd")),
    *(root("GET", f"/v2/tasks?{query}") for query in ("limit=1", "limit=0", "limit=-1", "limit=x")),
    *(root("GET", f"/v2/tasks?{query}") for query in ("sort_key=id&sort_dir=asc", "sort_key=odd", "sort_dir=odd")),
    *(root("GET", f"/v2/tasks?marker={marker}") for marker in ("6e0acd3c-0001-4fff-8fff-0123456789ab", "x")),
    *(who("DELETE", TASK) for who in (root, anon)),
    *(root(verb, TASK) for verb in ("POST", "PUT", "PATCH", "HEAD")),
    *(root(verb, "/v2/tasks") for verb in ("PUT", "DELETE", "HEAD")),
    *(who("POST", "/v2/tasks", {"type": "import", "input": FROM}) for who in (ann, rea, bob, svc, odd, anon)),
    root("POST", "/v2/tasks"),
    *(root("POST", "/v2/tasks", body) for body in ({}, {"type": "import"}, {"input": FROM})),
    root("POST", "/v2/tasks", {"type": 7, "input": FROM}),
    *(root("POST", "/v2/tasks", {"type": kind, "input": FROM}) for kind in ("import", "odd")),
    root("POST", "/v2/tasks", {"type": "import", "input": {}}),
    root("POST", "/v2/tasks", {"type": "import", "input": "x"}),
    *(root("POST", "/v2/tasks", body) for body in NO_OBJECTS),
    root("POST", "/v2/tasks", {"type": "import", "input": FROM, "more": 1}),
    *(root(verb, "/v2/cache") for verb in ("GET", "DELETE")),
    *(root(verb, "/v2/cache/{b}") for verb in ("PUT", "DELETE")),
    *(root("POST", f"/v2/cache/{what}") for what in ("clean", "prune")),
    root("GET", "/v2/cache/nodes/{b}"),
]  # fmt: skip
