"""Who sees which image, by id, in lists, and its bytes; and who may delete it."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, odd, pip, rea, root, sam, svc

KINDS = ("private", "shared", "community", "public")
EVERYBODY = (ann, sam, rea, bob, pip, odd, svc, root, anon)

STEPS = [
    *(ann.new(kind, name=kind, visibility=kind) for kind in KINDS[:3]),
    root.new("public", name="public", visibility="public", owner="stone"),
    ann.new("hidden", name="hidden", os_hidden=True),
    *(root.put(kind, kind.encode()) for kind in KINDS),
    *(who("GET", f"/v2/images/{{{kind}}}") for kind in KINDS for who in EVERYBODY),
    *(who("GET", f"/v2/images/{{{kind}}}/file") for kind in KINDS for who in EVERYBODY),
    *(who("GET", "/v2/images?sort=name:asc") for who in EVERYBODY),
    *(
        who("GET", f"/v2/images?sort=name:asc&{query}")
        for query in (
            *(f"visibility={each}" for each in (*KINDS, "all")), "owner=stone", "visibility=all&os_hidden=true",
            *(f"os_hidden={each}" for each in ("true", "True", "x")),
        )
        for who in (ann, bob, root)
    ),
    *(who("DELETE", f"/v2/images/{{{kind}}}") for kind in KINDS for who in (rea, bob, odd, anon)),
]  # fmt: skip
