"""Tags one at a time."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, rea, root

STEPS = [
    ann.new("a", name="tagged"),
    *(
        ann("PUT", f"/v2/images/{{a}}/tags/{tag}")
        for tag in ("one", "two", "one", "with%20space", "%C3%BC", "a.b:c", "x" * 255)
    ),
    *(ann("PUT", f"/v2/images/{{a}}/tags/{tag}") for tag in ("x" * 256, "a%2Fb", "a/b", "")),
    ann("PUT", "/v2/images/{a}/tags/body", {}),
    ann("PUT", "/v2/images/{a}/tags/body", raw=b"x", headers={"Content-Type": "text/plain"}),
    ann("GET", "/v2/images/{a}"),
    *(who("PUT", f"/v2/images/{{a}}/tags/{who.name}") for who in (rea, bob, anon, root)),
    *(who("DELETE", "/v2/images/{a}/tags/one") for who in (rea, bob, anon)),
    *(ann("DELETE", f"/v2/images/{{a}}/tags/{tag}") for tag in ("one", "one", "never", "with%20space", "x" * 256)),
    ann("DELETE", "/v2/images/{a}/tags/two", {}),
    ann("GET", "/v2/images?tag=two"),
    ann("GET", "/v2/images?tag=two&tag=a.b:c"),
    ann("GET", "/v2/images?tag=two&tag=never"),
    ann("PUT", "/v2/images/6e0acd3c-0001-4fff-8fff-0123456789ab/tags/t"),
    ann("DELETE", "/v2/images/x/tags/t"),
    ann.new("full", tags=[str(number) for number in range(128)]),
    ann("PUT", "/v2/images/{full}/tags/one-more"),
    ann("PUT", "/v2/images/{full}/tags/5"),
]
