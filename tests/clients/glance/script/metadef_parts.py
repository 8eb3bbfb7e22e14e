"""What a namespace of metadata definitions has: objects, properties, tags, associations with types of resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.clients.glance.script.metadefs import ALL, TITLE, WHOLE
from tests.clients.glance.steps import ann, anon, bob, odd, rea, root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.glance.steps import Step

OBJECT = {"name": "disk", "description": "A disk", "required": ["size"], "properties": {"size": TITLE}}
PROPERTY = {"name": "size", "title": "Size", "type": "integer", "minimum": 1}
LINK = {"name": "OS::Nova::Server", "prefix": "srv_", "properties_target": "metadata"}
APPEND = {"X-Openstack-Append": "True"}
EVERYBODY = (root, ann, rea, bob, odd, anon)


def of(namespace: str, part: str, name: str = "", query: str = "") -> str:
    """The path of a namespace's parts of one kind, or of one of them."""
    return f"{ALL}/{namespace}/{part}" + (f"/{name}" if name else "") + query


def refused(method: str, path: str, sound: dict[str, Any], *faults: dict[str, Any]) -> Iterator[Step]:
    """What is sound in all but one thing, if at all; each under a name of its own."""
    yield root(method, path)
    yield from (
        root(method, path, raw=raw, headers={"Content-Type": "application/json"}) for raw in (b"[]", b"{", b"7")
    )
    named = [sound | ({"name": f"{sound['name']}{n}"} if "name" in sound else {}) for n in range(len(faults))]
    # A PUT goes on with what it did not rename.
    yield from (
        root(method, path, (sound if method == "PUT" else each) | fault)
        for each, fault in zip(named, faults, strict=True)
    )
    yield from (root(method, path, {key: each for key, each in sound.items() if key != gone}) for gone in sound)


NAMES: tuple[dict[str, Any], ...] = ({"name": "n" * 81}, {"name": 7}, {"name": None}, {"other": 1})
TIMES: tuple[dict[str, Any], ...] = ({"created_at": "a"}, {"updated_at": "a"}, {"self": "/a"}, {"schema": "/a"})
KINDS = ("objects", "properties", "tags", "resource_types")

STEPS = [
    root("POST", ALL, WHOLE | {"namespace": "open"}),
    root("POST", ALL, WHOLE | {"namespace": "closed", "visibility": "private"}),
    root("POST", ALL, WHOLE | {"namespace": "kept", "protected": True}),
    root("POST", ALL, {"namespace": "scrap"}),
    root("POST", ALL, WHOLE | {"namespace": "wood", "visibility": "private", "owner": "wood"}),
    *(who("GET", of(each, kind)) for each in ("open", "closed", "wood", "none") for kind in KINDS for who in EVERYBODY),
    *(
        who("GET", of(each, kind, name))
        for each in ("open", "closed")
        for kind, name in (("objects", "cpu"), ("properties", "model"), ("tags", "fast"))
        for who in EVERYBODY
    ),
    *(root("GET", of("open", kind, "none")) for kind in KINDS),
    *(root(verb, of("open", kind)) for kind in KINDS for verb in ("PUT", "PATCH", "HEAD")),
    *(root(verb, of("open", kind, "x")) for kind in KINDS for verb in ("POST", "PATCH", "HEAD")),
    *(ann("GET", of("open", kind), {}) for kind in KINDS),
    # Objects.
    *(who("POST", of("open", "objects"), OBJECT) for who in (ann, rea, bob, odd, anon)),
    *(root("POST", of(each, "objects"), OBJECT) for each in ("open", "open", "closed", "kept", "none")),
    *(bob("POST", of(each, "objects"), OBJECT) for each in ("wood", "closed")),
    *refused("POST", of("scrap", "objects"), OBJECT | {"name": "o"}, *NAMES, *TIMES,
             {"description": "d" * 501}, {"required": "a"},
             {"required": ["a", "a"]}, {"properties": {"size": {}}}, {"properties": {"size": {"title": "a"}}},
             {"properties": {"size": TITLE | {"required": []}}}, {"properties": {"size": TITLE | {"other": 1}}},
             {"properties": {"size": TITLE | {"default": 1}}}, {"properties": {"size": TITLE | {"default": "a"}}},
             {"name": ""}, {"properties": {"n" * 81: TITLE}}, {"required": ["none"]}),
    root("GET", of("closed", "objects")),
    *(who("PUT", of("open", "objects", "disk"), {"name": "disk"}) for who in (ann, rea, bob, anon)),
    root("PUT", of("open", "objects", "disk"), {"name": "disk", "description": "changed"}),
    root("GET", of("open", "objects", "disk")),
    root("PUT", of("open", "objects", "disk"), {"name": "cpu"}),
    root("PUT", of("open", "objects", "disk"), {"name": "drive", "required": ["a", "b"], "properties": {"a": TITLE}}),
    *(root("GET", of("open", "objects", name)) for name in ("disk", "drive")),
    *refused("PUT", of("open", "objects", "drive"), OBJECT | {"name": "drive"}, *NAMES, *TIMES,
             {"required": ["a", "a"]}, {"properties": {"size": {}}}),
    root("PUT", of("open", "objects", "none"), OBJECT),
    root("PUT", of("kept", "objects", "disk"), OBJECT),
    *(root("GET", of("open", "objects", query=query)) for query in (
        "?limit=1", "?limit=0", "?limit=x", "?marker=cpu", "?sort_dir=up", "?sort_key=name&sort_dir=asc",
        "?visibility=none", "?other=1")),
    *(who("DELETE", of("open", "objects", "cpu")) for who in (ann, rea, bob, anon)),
    root("DELETE", of("kept", "objects", "disk")),
    *(root("DELETE", of("open", "objects", name)) for name in ("cpu", "cpu", "none")),
    root("DELETE", of("open", "objects", "bare"), {}),
    root("GET", of("open", "objects")),
    # Properties.
    *(who("POST", of("open", "properties"), PROPERTY) for who in (ann, rea, bob, odd, anon)),
    *(root("POST", of(each, "properties"), PROPERTY) for each in ("open", "open", "closed", "kept", "none")),
    *refused("POST", of("scrap", "properties"), PROPERTY | {"name": "p"}, *NAMES, *TIMES, {"type": "text"},
             {"type": None}, {"title": 7}, {"description": "d" * 501}, {"minimum": "1"}, {"minimum": 1.5},
             {"maximum": True}, {"minLength": -1}, {"maxLength": 1.5}, {"enum": "a"}, {"enum": [1, 2]},
             {"enum": ["a", "a"]}, {"pattern": 7}, {"pattern": "("}, {"items": {}}, {"items": {"type": "text"}},
             {"items": {"type": "string", "enum": [1]}}, {"items": {"type": "string", "other": 1}},
             {"operators": "a"}, {"operators": []}, {"required": []}, {"required": ["a"]}, {"uniqueItems": 1},
             {"additionalItems": "a"}, {"readonly": 1}, {"confidential": True}, {"default": {"a": 1}},
             {"default": True}, {"default": 1.5}, {"default": None}, {"default": ["a"]}, {"default": ""}, {"name": ""},
             {"type": "number", "minimum": 0.5, "maximum": 1e3}, {"type": "boolean", "default": False}),
    root("GET", of("closed", "properties")),
    *(who("PUT", of("open", "properties", "size"), PROPERTY) for who in (ann, rea, bob, anon)),
    root("PUT", of("open", "properties", "size"), {"name": "size", "title": "Other", "type": "string"}),
    root("GET", of("open", "properties", "size")),
    root("PUT", of("open", "properties", "size"), PROPERTY | {"name": "cores"}),
    root("PUT", of("open", "properties", "size"), PROPERTY | {"name": "length"}),
    *(root("GET", of("open", "properties", name)) for name in ("size", "length")),
    *refused("PUT", of("open", "properties", "length"), PROPERTY | {"name": "length"}, *NAMES, *TIMES,
             {"type": "text"}),
    root("PUT", of("open", "properties", "none"), PROPERTY),
    root("PUT", of("kept", "properties", "size"), PROPERTY | {"title": "kept"}),
    *(
        ann("GET", of("open", "properties", name, f"?resource_type={kind}"))
        for name, kind in (
            ("hw_model", "OS::Glance::Image"), ("model", "OS::Glance::Image"), ("hw:model", "OS::Nova::Flavor"),
            ("hw_none", "OS::Glance::Image"), ("model", "OS::Cinder::Volume"), ("model", "none"), ("model", ""),
            ("hw_model", "none"),
        )
    ),
    ann("GET", of("open", "properties", query="?resource_type=OS::Glance::Image")),
    ann("GET", of("open", "properties", "model", "?other=1")),
    *(who("DELETE", of("open", "properties", "cores")) for who in (ann, rea, bob, anon)),
    root("DELETE", of("kept", "properties", "size")),
    *(root("DELETE", of("open", "properties", name)) for name in ("cores", "cores", "none")),
    root("GET", of("open", "properties")),
    # Tags.
    *(who("POST", of("open", "tags", "new")) for who in (ann, rea, bob, odd, anon)),
    *(root("POST", of(each, "tags", "new")) for each in ("open", "open", "closed", "kept", "none")),
    *(root("POST", of("open", "tags", name)) for name in ("n" * 80, "n" * 81, "New", "a%20b", "%C3%A9")),
    root("POST", of("open", "tags", "body"), {}),
    root("POST", of("open", "tags", "body"), {"name": "other"}),
    *(who("PUT", of("open", "tags", "new"), {"name": "new"}) for who in (ann, rea, bob, anon)),
    root("PUT", of("open", "tags", "new"), {"name": "newer"}),
    root("PUT", of("open", "tags", "newer"), {"name": "fast"}),
    *(root("GET", of("open", "tags", name)) for name in ("new", "newer")),
    *refused("PUT", of("open", "tags", "newer"), {"name": "newer"}, *NAMES, *TIMES),
    root("PUT", of("open", "tags", "none"), {"name": "a"}),
    root("PUT", of("kept", "tags", "new"), {"name": "newer"}),
    *(root("GET", of("open", "tags", query=query)) for query in (
        "?limit=1", "?limit=2", "?limit=0", "?limit=x", "?limit=-1", "?marker=fast", "?marker=none", "?sort_dir=up",
        "?sort_key=name&sort_dir=asc", "?sort_key=none", "?sort_key=name&sort_dir=asc&marker=fast&limit=2",
        "?other=1")),
    *(who("DELETE", of("open", "tags", "fast")) for who in (ann, rea, bob, anon)),
    root("DELETE", of("kept", "tags", "fast")),
    *(root("DELETE", of("open", "tags", name)) for name in ("fast", "fast", "none")),
    *(who("POST", of("open", "tags"), {"tags": [{"name": "one"}]}) for who in (ann, rea, bob, odd, anon)),
    *refused("POST", of("scrap", "tags"), {"tags": [{"name": "one"}]}, {"tags": {}}, {"tags": ["a"]}, {"tags": [{}]},
             {"tags": [{"name": 7}]}, {"tags": [{"name": "n" * 81}]}, {"tags": [{"name": "a", "other": 1}]},
             *TIMES[:3]),
    root("POST", of("open", "tags"), {"tags": [{"name": "one"}, {"name": "two"}, {"name": "three"}]}),
    root("GET", of("open", "tags")),
    root("GET", of("open", "tags", query="?sort_key=name&sort_dir=asc")),
    root("POST", of("open", "tags"), {"tags": [{"name": "two"}, {"name": "four"}]}, headers=APPEND),
    root("POST", of("open", "tags"), {"tags": [{"name": "four"}]}, headers=APPEND),
    root("POST", of("open", "tags"), {"tags": [{"name": "five"}]}, headers={"X-Openstack-Append": "no"}),
    root("POST", of("open", "tags"), {"tags": [{"name": "six"}, {"name": "six"}]}),
    root("GET", of("open", "tags")),
    root("POST", of("open", "tags"), {"tags": []}),
    root("GET", of("open", "tags")),
    root("POST", of("kept", "tags"), {"tags": [{"name": "other"}]}),
    root("GET", of("kept", "tags")),
    root("POST", of("none", "tags"), {"tags": [{"name": "other"}]}),
    # Associations.
    *(who("POST", of("open", "resource_types"), LINK) for who in (ann, rea, bob, odd, anon)),
    *(root("POST", of(each, "resource_types"), LINK) for each in ("open", "open", "closed", "kept", "none")),
    *refused("POST", of("scrap", "resource_types"), LINK | {"name": "L"}, *NAMES, *TIMES, {"prefix": "p" * 81},
             {"prefix": 7}, {"prefix": ""}, {"properties_target": "t" * 81}, {"properties_target": None}),
    root("GET", of("closed", "resource_types")),
    *(who("DELETE", of("open", "resource_types", "OS::Nova::Server")) for who in (ann, rea, bob, anon)),
    root("DELETE", of("kept", "resource_types", "OS::Nova::Server")),
    *(root("DELETE", of("open", "resource_types", name)) for name in ("OS::Nova::Server", "OS::Nova::Server", "none")),
    root("GET", of("open", "resource_types")),
    # All of a kind at once.
    *(who("DELETE", of("open", kind)) for kind in KINDS for who in (ann, rea, bob, anon)),
    *(root("DELETE", of(each, kind)) for each in ("kept", "open", "open", "none") for kind in KINDS),
    root("DELETE", of("closed", "tags"), {}),
    *(root("GET", f"{ALL}/{each}") for each in ("open", "closed", "kept")),
    root("GET", of("scrap", "properties")),
    root("DELETE", f"{ALL}/open"),
]  # fmt: skip
