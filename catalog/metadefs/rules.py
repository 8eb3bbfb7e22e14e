"""The policy's rules on metadata definitions, by the reference's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

JUDGE_NAMESPACES: Final = (
    "get_metadef_namespace", "add_metadef_namespace", "modify_metadef_namespace", "delete_metadef_namespace",
    "get_metadef_objects", "get_metadef_object", "add_metadef_object", "modify_metadef_object", "delete_metadef_object",
    "get_metadef_properties", "get_metadef_property", "add_metadef_property", "modify_metadef_property",
    "remove_metadef_property",
    "get_metadef_tags", "get_metadef_tag", "add_metadef_tag", "add_metadef_tags", "modify_metadef_tag",
    "delete_metadef_tag", "delete_metadef_tags",
    "list_metadef_resource_types", "get_metadef_resource_type", "add_metadef_resource_type_association",
    "remove_metadef_resource_type_association",
)  # fmt: skip
"""Rules that judge a namespace, or a new one; where all namespaces are meant, one of the caller's that nobody sees."""

DEFAULTS: Final[Mapping[str, str]] = {
    # For others to refer to.
    "metadef_default": "",
    "metadef_admin": "rule:context_is_admin",
    "metadef_reader": "rule:context_is_admin or (role:reader and (project_id:%(owner)s or 'public':%(visibility)s))",
    "get_metadef_namespaces": "role:reader",
    **{
        name: "rule:metadef_reader" if name.startswith(("get_", "list_")) else "rule:metadef_admin"
        for name in JUDGE_NAMESPACES
    },
}
