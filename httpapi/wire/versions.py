"""The version document: what discovery reads at `/`, `/versions` and `/v2`, and the rule of what it says.

A minor number changes no behaviour, every `v2.N` path is served alike: it advertises what came with it. Clients look
for the very number before they try that, so a number is told if all that came with it is served, and not otherwise;
gaps are nothing new to them, the reference has some by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_IMAGE = "/images/{image_id}"
_MEMBERS = frozenset(
    {
        f"GET {_IMAGE}/members", f"POST {_IMAGE}/members", f"GET {_IMAGE}/members/{{member_id}}",
        f"PUT {_IMAGE}/members/{{member_id}}", f"DELETE {_IMAGE}/members/{{member_id}}",
    }
)  # fmt: skip
_UPLOADS = frozenset({f"GET {_IMAGE}/file", f"PUT {_IMAGE}/file"})

STORES: Final = "several stores"
"""Stands among the routes of a service that has stores configured."""

CAME_WITH: Final[Mapping[int, frozenset[str]]] = {
    0: frozenset({"GET /images", "POST /images", f"GET {_IMAGE}", f"DELETE {_IMAGE}"}) | _UPLOADS,
    1: frozenset({f"PATCH {_IMAGE}"}) | _MEMBERS,
    2: frozenset({"GET /tasks", "POST /tasks", "GET /tasks/{id}", "GET /metadefs/namespaces"}),
    3: frozenset({f"POST {_IMAGE}/actions/deactivate", f"POST {_IMAGE}/actions/reactivate"}),
    4: frozenset({f"PATCH {_IMAGE}"}),  # and its locations, where they are told
    5: _MEMBERS,  # visibility community, and shared for what has members
    # The ways of import that there are, perhaps none, are told by /info/import alone.
    6: frozenset({"GET /info/import", f"PUT {_IMAGE}/stage", f"POST {_IMAGE}/import"}),
    7: frozenset(),  # os_hidden, os_hash_algo and os_hash_value: attributes that every image here has
    8: frozenset({STORES, "GET /info/stores"}),
    9: frozenset({f"PATCH {_IMAGE}"}),  # and validation_data in these
    10: frozenset({STORES, "DELETE /stores/{store}/{image_id}"}),
    11: frozenset({STORES, f"POST {_IMAGE}/import"}),
    12: frozenset({f"GET {_IMAGE}/tasks"}),
    13: frozenset({"GET /info/usage"}),
    15: frozenset({STORES, "GET /info/stores/detail"}),
    17: frozenset({f"GET {_IMAGE}/locations", f"POST {_IMAGE}/locations"}),
}
"""Each minor number that could be told, with the routes below `/v2` that came with it.

Those that are missing came with the cache (14, 16, 18), which there is none of. What stores brought is told where some
are configured, as in the reference; what locations in a PATCH brought everywhere, as there, whatever the setting says.
"""


def advertised(served: Collection[str]) -> tuple[int, ...]:
    """The minor numbers to tell of a service with these routes (`GET /images`, …), the newest first."""
    return tuple(sorted((minor for minor, routes in CAME_WITH.items() if routes <= set(served)), reverse=True))


def version_document(base_url: str, minors: Sequence[int]) -> dict[str, list[dict[str, object]]]:
    """These versions under `base_url` (scheme and host, no slash at the end); the first, the newest, is CURRENT."""
    links = [{"rel": "self", "href": f"{base_url}/v2/"}]
    return {
        "versions": [
            {"id": f"v2.{minor}", "status": "CURRENT" if minor == minors[0] else "SUPPORTED", "links": links}
            for minor in minors
        ]
    }
