"""The version document: what discovery reads at `/`, `/versions` and `/v2`."""

from __future__ import annotations

# Newest first, as clients expect it. A minor number advertises what came with it and changes no behaviour: every
# `v2.N` path is served alike. Clients try what is advertised, so a number stands here only once all of it is served.
MINORS = (0,)


def version_document(base_url: str) -> dict[str, list[dict[str, object]]]:
    """The versions under `base_url` (scheme and host, no slash at the end); the newest one is CURRENT."""
    links = [{"rel": "self", "href": f"{base_url}/v2/"}]
    return {
        "versions": [
            {"id": f"v2.{minor}", "status": "CURRENT" if minor == MINORS[0] else "SUPPORTED", "links": links}
            for minor in MINORS
        ]
    }
