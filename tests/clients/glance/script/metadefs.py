"""Metadata definitions: namespaces, as a whole and in lists."""

from __future__ import annotations

from tests.clients.glance.steps import ann, anon, bob, odd, rea, root, svc

ALL = "/v2/metadefs/namespaces"
TYPES = "/v2/metadefs/resource_types"
SCHEMAS = (
    "namespace", "namespaces", "resource_type", "resource_types", "property", "properties", "object", "objects", "tag",
    "tags", "nothing",
)  # fmt: skip
TITLE = {"title": "a", "type": "string"}
WHOLE = {
    "namespace": "OS::Whole",
    "display_name": "The whole",
    "description": "All that a namespace can have",
    "visibility": "public",
    "protected": False,
    "owner": "stone",
    "resource_type_associations": [
        {"name": "OS::Glance::Image", "prefix": "hw_", "properties_target": "image"},
        {"name": "OS::Nova::Flavor", "prefix": "hw:"},
        {"name": "OS::Cinder::Volume"},
    ],
    "properties": {
        "cores": {"title": "Cores", "type": "integer", "minimum": 1, "maximum": 64, "default": 2, "readonly": False},
        "model": {
            "title": "Model", "type": "string", "description": "Which", "enum": ["a", "b"], "operators": ["<or>"],
            "pattern": "^[a-z]$", "minLength": 1, "maxLength": 9, "default": "a",
        },
        "list": {
            "title": "List", "type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "uniqueItems": True,
            "minItems": 1, "maxItems": 3, "additionalItems": False,
        },
    },
    "objects": [
        {
            "name": "cpu",
            "description": "A processor",
            "required": ["cores", "model"],
            "properties": {"cores": {"title": "Cores", "type": "integer"}, "model": {"title": "M", "type": "string"}},
        },
        {"name": "bare"},
    ],
    "tags": [{"name": "fast"}, {"name": "slow"}],
}  # fmt: skip


JSON = {"Content-Type": "application/json"}
FAULTS: tuple[dict[str, object], ...] = (
    {"namespace": None}, {"namespace": 7}, {"namespace": "n" * 81},
    {"display_name": "n" * 81},
    {"display_name": None}, {"description": "d" * 501}, {"description": None}, {"visibility": "shared"},
    {"visibility": None}, {"protected": "true"}, {"protected": None}, {"owner": "o" * 256}, {"owner": None},
    {"self": "/a"}, {"schema": "/a"}, {"created_at": "2020-01-01T00:00:00Z"}, {"updated_at": "a"}, {"other": 1},
    {"id": "a"}, {"tags": {}}, {"tags": ["a"]}, {"tags": [{}]}, {"tags": [{"name": 7}]},
    {"objects": {}}, {"objects": [{}]}, {"objects": [{"name": 7}]}, {"objects": [{"name": "o", "required": 7}]},
    {"objects": [{"name": "o", "required": ["a", "a"]}]}, {"objects": [{"name": "o", "properties": []}]},
    {"objects": [{"name": "o", "properties": {"p": {}}}]},
    {"properties": []}, {"properties": {"p": {}}}, {"properties": {"p": {"title": "a"}}},
    {"properties": {"p": {"type": "string"}}}, {"properties": {"p": TITLE | {"type": "text"}}},
    {"properties": {"p": TITLE | {"minLength": -1}}}, {"properties": {"p": TITLE | {"enum": "a"}}},
    {"properties": {"p": TITLE | {"items": []}}}, {"properties": {"p": TITLE | {"operators": [1]}}},
    {"properties": {"p": TITLE | {"other": 1}}}, {"objects": [{"name": "o", "other": 1}]},
    {"tags": [{"name": "t", "other": 1}]}, {"tags": [{"name": "n" * 81}]}, {"properties": {"n" * 81: TITLE}},
    {"objects": [{"name": "n" * 81}]}, {"properties": {"p": TITLE | {"name": "other"}}},
    {"properties": {"p": TITLE | {"readonly": "no"}}}, {"properties": {"p": TITLE | {"name": "n" * 81}}},
    {"resource_type_associations": {}}, {"resource_type_associations": [{}]},
    {"resource_type_associations": [{"name": 7}]}, {"resource_type_associations": [{"name": "a", "prefix": 7}]},
)  # fmt: skip


def at(name: str, query: str = "") -> str:
    """The path of a namespace."""
    return f"{ALL}/{name}{query}"


def renamed(**attributes: object) -> dict[str, object]:
    """What a PUT says of the namespace `there`."""
    return {"namespace": "there", **attributes}


STEPS = [
    *(ann("GET", f"/v2/schemas/metadefs/{name}") for name in SCHEMAS),
    *(who("GET", path) for path in (ALL, TYPES) for who in (root, ann, rea, odd, svc, anon)),
    *(root(verb, path) for path in ("/v2/metadefs", ALL, TYPES) for verb in ("PUT", "PATCH", "DELETE")),
    root("POST", TYPES, {"name": "a"}),
    *(root(verb, at("none")) for verb in ("POST", "PATCH")),
    # A new one.
    *(who("POST", ALL, {"namespace": "theirs"}) for who in (ann, rea, bob, odd, svc, anon)),
    root("POST", ALL),
    *(root("POST", ALL, raw=raw, headers=JSON) for raw in (b"", b"{", b"[]", b"1", b'"a"')),
    *(
        root("POST", ALL, {"namespace": "x", **more})
        for more in FAULTS
    ),
    root("POST", ALL, {}),
    *(root("GET", at("x")) for _ in range(2)),
    root("POST", ALL, {"namespace": "least"}),
    root("GET", at("least")),
    root("POST", ALL, {"namespace": "least"}),
    root("POST", ALL, {"namespace": "Least", "description": ""}),
    root("POST", ALL, WHOLE),
    *(who("GET", at("OS::Whole")) for who in (root, ann, rea, bob, odd, svc, anon)),
    ann("GET", TYPES),
    root("POST", ALL, WHOLE),
    # All of it or nothing.
    *(
        root("POST", ALL, {"namespace": "half", **twice})
        for twice in (
            {"tags": [{"name": "a"}, {"name": "a"}]}, {"objects": [{"name": "a"}, {"name": "a"}]},
            {"resource_type_associations": [{"name": "a"}, {"name": "a"}]},
        )
    ),
    root("GET", at("half")),
    root("DELETE", at("x")),
    # With a type of resource, properties are told as that has them.
    *(
        ann("GET", at("OS::Whole", f"?resource_type={kind}"))
        for kind in ("OS::Glance::Image", "OS::Nova::Flavor", "OS::Cinder::Volume", "none", "")
    ),
    ann("GET", at("OS::Whole", "?visibility=public")),
    ann("GET", at("OS::Whole"), {}),
    # Who sees what.
    root("POST", ALL, {"namespace": "stone-private", "owner": "stone"}),
    root("POST", ALL, {"namespace": "stone-public", "owner": "stone", "visibility": "public"}),
    root("POST", ALL, {"namespace": "wood-private", "owner": "wood"}),
    root("POST", ALL, {"namespace": "kept", "owner": "stone", "protected": True}),
    *(who("GET", at(name)) for name in ("stone-private", "wood-private", "kept") for who in (ann, rea, bob, root)),
    *(who("GET", ALL) for who in (ann, rea, bob, root, odd, svc, anon)),
    ann("GET", ALL, whole=True),
    *(who("GET", f"{ALL}?visibility={word}") for who in (ann, root) for word in ("public", "private", "shared", "")),
    *(
        root("GET", f"{ALL}?resource_types={words}")
        for words in ("OS::Glance::Image", "OS::Glance::Image,none", "none", "", "OS::Cinder::Volume,OS::Nova::Flavor")
    ),
    ann("GET", f"{ALL}?resource_types=OS::Nova::Flavor&visibility=private"),
    # Pages and orders.
    *(root("GET", f"{ALL}?limit={limit}") for limit in (0, 1, 2, 1000, 5000, -1, "x", "")),
    *(root("GET", f"{ALL}?marker={marker}") for marker in ("OS::Whole", "least", "none", "")),
    *(root("GET", f"{ALL}?limit=2&marker={marker}&sort_key=namespace&sort_dir=asc") for marker in ("Least", "kept")),
    bob("GET", f"{ALL}?marker=stone-private"),
    *(
        root("GET", f"{ALL}?sort_key={key}&sort_dir=asc")
        for key in ("namespace", "created_at", "updated_at", "display_name", "visibility", "owner", "id", "none")
    ),
    *(root("GET", f"{ALL}?sort_dir={way}") for way in ("desc", "up", "")),
    root("GET", f"{ALL}?sort_key=namespace&sort_dir=desc&limit=3"),
    root("GET", f"{ALL}?other=1"),
    root("GET", ALL, {}),
    # Changed, and renamed.
    root("POST", ALL, {"namespace": "there", "display_name": "There", "visibility": "public", "protected": True,
                       "description": "was", "owner": "stone", "tags": [{"name": "kept"}],
                       "properties": {"p": TITLE}, "objects": [{"name": "o", "properties": {"p": TITLE}}],
                       "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}]}),
    *(who("PUT", at("there"), renamed()) for who in (ann, rea, bob, odd, anon)),
    *(who("PUT", at("wood-private"), {"namespace": "wood-private"}) for who in (ann, bob)),
    root("PUT", at("none"), renamed()),
    root("PUT", at("there")),
    *(
        root("PUT", at("there"), body)
        for body in (
            {}, {"display_name": "a"}, renamed(namespace="n" * 81), renamed(self="/a"), renamed(created_at="a"),
            renamed(visibility="shared"), renamed(other=1), renamed(description="d" * 501), renamed(display_name=None),
        )
    ),
    root("PUT", at("there"), renamed()),
    root("GET", at("there")),
    root("PUT", at("there"), renamed(visibility="public", description="is", protected=True, owner="stone",
                                     tags=[{"name": "other"}], properties={"q": TITLE})),
    ann("GET", at("there")),
    root("PUT", at("there"), renamed(namespace="least", visibility="public")),
    root("PUT", at("there"), renamed(namespace="elsewhere", visibility="public", owner="stone")),
    *(ann("GET", at(name)) for name in ("there", "elsewhere")),
    ann("GET", at("elsewhere", "?resource_type=OS::Glance::Image")),
    *(ann("GET", at(f"elsewhere/{part}")) for part in ("objects", "properties", "tags", "resource_types")),
    # Gone.
    *(who("DELETE", at("elsewhere")) for who in (ann, rea, bob, odd, svc, anon)),
    *(who("DELETE", at("wood-private")) for who in (ann, bob)),
    *(who("DELETE", at("kept")) for who in (ann, bob, root)),
    root("DELETE", at("none")),
    root("DELETE", at("elsewhere"), {}),
    *(root("DELETE", at("elsewhere")) for _ in range(2)),
    ann("GET", at("elsewhere/objects")),
    root("POST", ALL, {"namespace": "elsewhere"}),
    root("GET", at("elsewhere")),
    root("GET", TYPES),
    root("POST", ALL, {"namespace": "a name"}),
    root("DELETE", at("a%20name")),
    root("POST", ALL, {"namespace": ""}),
]  # fmt: skip
