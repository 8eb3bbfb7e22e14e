"""What clients ask first: versions, schemas, what the service can; and paths and verbs that are none."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, odd, rea, root, svc

PAGE = {"Accept": "text/html"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
GLANCECLIENT = {"Accept": "*/*", "User-Agent": "python-glanceclient"}

STEPS = [
    *(anon("GET", path) for path in ("/", "/versions", "/v3", "/v1/images", "/va.1/images", "/healthcheck")),
    *(anon("GET", path) for path in ("/v2", "/v2/", "/v2/images", "/v2/schemas/image", "/nothing")),
    anon("GET", "/", headers=BROWSER),
    anon("POST", "/versions"),
    anon("HEAD", "/versions"),
    *(ann("GET", f"/v2/schemas/{name}") for name in ("image", "images", "member", "members", "task", "tasks")),
    *(ann("GET", f"/v2/schemas/{name}") for name in ("nothing", "")),
    *(ann(verb, "/v2/schemas/image") for verb in ("POST", "PUT", "PATCH", "DELETE", "HEAD")),
    ann("GET", "/v2/schemas/image", {}),
    *(rea("GET", f"/v2/info/{what}") for what in ("import", "stores", "usage", "nothing")),
    *(who("GET", "/v2/info/stores/detail") for who in (ann, rea, root, svc, odd)),
    *(ann(verb, f"/v2/info/{what}") for verb in ("POST", "DELETE") for what in ("import", "stores", "usage")),
    *(ann("GET", f"/{version}/images") for version in ("v2", "v2.0", "v2.1", "v2.7", "v2.17", "v2.99")),
    *(ann("GET", f"/{version}/images") for version in ("v2.", "v2.x", "v20", "V2", "v3", "v2/v2")),
    *(ann(verb, "/v2/images") for verb in ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
    *(ann(verb, "/v2/images/x") for verb in ("PUT", "POST", "HEAD")),
    *(ann(verb, "/v2/images/x/file") for verb in ("POST", "PATCH", "DELETE")),
    *(ann(verb, "/v2/images/x/tags/t") for verb in ("GET", "POST", "PATCH")),
    *(ann(verb, "/v2/images/x/tags") for verb in ("GET", "PUT")),
    *(ann(verb, "/v2/images/x/members") for verb in ("PUT", "PATCH", "DELETE")),
    *(ann(verb, "/v2/images/x/members/y") for verb in ("POST", "PATCH")),
    *(ann(verb, "/v2/images/x/actions/deactivate") for verb in ("GET", "PUT", "DELETE")),
    ann("POST", "/v2/images/x/actions/nothing"),
    ann("POST", "/v2/images/x/actions"),
    *(ann("GET", path) for path in ("/images", "/v2/nothing", "/v2/images/", "/v2/images/x/y", "/v2//images")),
    ann("BREW", "/v2/images"),
    ann("GET", "/v2/images", headers={"Content-Type": "application/octet-stream"}),
    ann("GET", "/v2/images", headers={"X-OpenStack-Request-ID": "req-6ab3e1e6-6a7a-4b8e-9f5f-0c0b1a2d3e4f"}),
    ann("GET", "/v2/images", headers={"Accept": ""}),
    *(ann("GET", "/v2/images/x", headers=accept) for accept in (PAGE, BROWSER, {"Accept": ""}, {"Accept": "*/*"})),
    ann("GET", "/v2/images/x", headers={"Accept": "application/json, text/html;q=0.5"}),
    ann("GET", "/v2/images/x", headers={"Accept": "text/html, application/json;q=0.5"}),
    ann("GET", "/v2/images/x", headers=GLANCECLIENT),
    ann("POST", "/v2/images", {"name": 7}, headers=GLANCECLIENT),
    ann("GET", "/v2/images?limit=x", headers=PAGE),
    ann("POST", "/v2/images", {"name": 7}, headers=PAGE),
    ann("POST", "/v2/images", {"name": 7}, headers={"Accept": ""}),
    ann("GET", "/images", headers={"Accept": "application/vnd.openstack.images-v2"}),
    ann("GET", "/images", headers={"Accept": "application/vnd.openstack.images-v2.5"}),
    ann("GET", "/v2/images", headers={"X-OpenStack-Request-ID": "req-" + "x" * 80}),
    ann("GET", "/v2/images", headers={"Accept": "application/xml"}),
    ann("GET", "/v2/images/x", headers={"Accept": "application/xml"}),
    ann("DELETE", "/v2/images", headers=PAGE),
    anon("GET", "/v2/images", headers=PAGE),
    *(who(verb, "/v2/tasks") for who in (ann, root) for verb in ("GET", "PATCH")),
    root("GET", "/v2/tasks/6e0acd3c-0001-4fff-8fff-0123456789ab"),
    root("DELETE", "/v2/tasks/6e0acd3c-0001-4fff-8fff-0123456789ab"),
    ann("POST", "/v2/tasks", {"type": "import", "input": {}}),
]
