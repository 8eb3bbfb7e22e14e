"""Images are deactivated and made active again."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, rea, root

OFF, ON = "/v2/images/{a}/actions/deactivate", "/v2/images/{a}/actions/reactivate"

STEPS = [
    ann.new("a", name="acted on"),
    ann("POST", OFF),
    ann("POST", ON),
    ann.put("a"),
    ann("POST", ON),
    *(who("POST", OFF) for who in (rea, bob, anon)),
    ann("POST", OFF, {}),
    ann("POST", OFF),
    ann("POST", OFF),
    ann("GET", "/v2/images/{a}"),
    *(who("GET", "/v2/images/{a}/file") for who in (ann, rea, bob, root)),
    ann.put("a"),
    ann("GET", "/v2/images?status=deactivated"),
    ann("PATCH", "/v2/images/{a}", [{"op": "add", "path": "/while", "value": "off"}],
        headers={"Content-Type": "application/openstack-images-v2.1-json-patch"}),
    *(who("POST", ON) for who in (rea, bob, anon)),
    ann("POST", ON),
    ann("POST", ON),
    ann("GET", "/v2/images/{a}"),
    ann("GET", "/v2/images/{a}/file"),
    root("POST", OFF),
    ann("DELETE", "/v2/images/{a}"),
    ann("POST", OFF),
    ann("POST", "/v2/images/x/actions/reactivate"),
]  # fmt: skip
