"""Images are shared with projects, which accept them or not."""

from __future__ import annotations

from typing import Any

from tests.clients.glance.steps import ann, anon, bob, eve, odd, pip, rea, root

MEMBERS = "/v2/images/{a}/members"
BODIES: list[Any] = [
    {}, {"member": ""}, {"member": None}, {"member": "x" * 255}, {"members": "wood"},
    [], "wood", {"member": "clay", "status": "accepted"}, {"member": "with space"}, {"member": "stone"},
]  # fmt: skip
STATUSES: list[Any] = [
    {}, {"status": ""}, {"status": "maybe"}, {"status": None}, {"status": 7}, {"status": "accepted", "member": "x"}, [],
    {"status": "rejected"}, {"status": "pending"}, {"status": "accepted"},
]  # fmt: skip
ASKED = ("pending", "all", "x")

STEPS = [
    ann.new("a", name="shared"),
    ann.put("a"),
    bob("GET", "/v2/images/{a}"),
    bob("GET", MEMBERS),
    ann("GET", MEMBERS),
    ann("POST", MEMBERS, {"member": "wood"}),
    ann("POST", MEMBERS, {"member": "wood"}),
    *(ann("POST", MEMBERS, each) for each in BODIES),
    ann("POST", MEMBERS),
    ann("POST", MEMBERS, raw=b"{", headers={"Content-Type": "application/json"}),
    *(who("GET", MEMBERS) for who in (ann, bob, pip, eve, rea, root, odd, anon)),
    *(who("GET", f"{MEMBERS}/wood") for who in (ann, bob, pip, eve, rea, root, odd, anon)),
    *(who("GET", f"{MEMBERS}/clay") for who in (ann, bob, eve)),
    ann("GET", f"{MEMBERS}/nobody"),
    *(who("GET", "/v2/images/{a}") for who in (bob, pip, eve)),
    *(who("GET", "/v2/images/{a}/file") for who in (bob, pip, eve)),
    *(bob("GET", f"/v2/images{query}") for query in ("", *(f"?member_status={each}" for each in ASKED))),
    *(who("PUT", f"{MEMBERS}/wood", {"status": "accepted"}) for who in (ann, eve, rea, pip, anon)),
    *(bob("PUT", f"{MEMBERS}/wood", each) for each in STATUSES),
    bob("PUT", f"{MEMBERS}/clay", {"status": "accepted"}),
    bob("PUT", f"{MEMBERS}/nobody", {"status": "accepted"}),
    *(
        bob("GET", f"/v2/images?{query}")
        for query in ("", "member_status=accepted", "member_status=pending", "visibility=shared", "owner=stone",
                      "visibility=shared&owner=stone", "visibility=shared&member_status=all")
    ),
    bob("PATCH", "/v2/images/{a}", [], headers={"Content-Type": "application/openstack-images-v2.1-json-patch"}),
    bob("DELETE", "/v2/images/{a}"),
    bob("POST", MEMBERS, {"member": "sand"}),
    bob("PUT", "/v2/images/{a}/tags/t"),
    bob("PUT", f"{MEMBERS}/wood", {"status": "rejected"}),
    *(bob("GET", f"/v2/images?{query}") for query in ("", "member_status=rejected")),
    bob("GET", "/v2/images/{a}"),
    root("PUT", f"{MEMBERS}/wood", {"status": "accepted"}),
    *(who("DELETE", f"{MEMBERS}/wood") for who in (bob, eve, rea, anon)),
    ann("DELETE", f"{MEMBERS}/wood", {}),
    ann("DELETE", f"{MEMBERS}/wood"),
    ann("DELETE", f"{MEMBERS}/wood"),
    bob("GET", "/v2/images/{a}"),
    *(ann.new(each, visibility=each) for each in ("private", "community")),
    root.new("public", visibility="public"),
    *(ann("GET", f"/v2/images/{{{each}}}/members") for each in ("private", "community")),
    *(ann("POST", f"/v2/images/{{{each}}}/members", {"member": "wood"}) for each in ("private", "community")),
    root("POST", "/v2/images/{public}/members", {"member": "wood"}),
    root("GET", "/v2/images/{public}/members"),
    ann("GET", "/v2/images/{public}/members"),
    ann.new("b", name="for odd members"),
    ann("POST", "/v2/images/{b}/members", {"member": 7}),
    ann("POST", "/v2/images/{b}/members", {"member": "x" * 256}),
    ann("POST", "/v2/images/x/members", {"member": "wood"}),
    rea("POST", MEMBERS, {"member": "sand"}),
    root("POST", MEMBERS, {"member": "sand"}),
]  # fmt: skip
