"""What each rule of the policy judges: which attributes its target has, for `%(name)s`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

_OWNER: Final = frozenset({"owner", "project_id", "tenant"})
_IMAGE: Final = _OWNER | {"id", "name", "visibility", "status", "protected", "os_hidden", "member_id"}
_TASK: Final = _OWNER | {"id", "type", "status"}
_OF_IMAGES: Final = (
    "get_image", "download_image", "upload_image", "modify_image", "delete_image", "deactivate", "reactivate",
    "add_member", "get_members", "get_member", "modify_member", "delete_member", "coalesce_image",
)  # fmt: skip
TARGETS: Final[Mapping[str, AbstractSet[str]]] = {
    **dict.fromkeys(_OF_IMAGES, _IMAGE),
    **dict.fromkeys(("get_task", "cancel_task"), _TASK),
    **dict.fromkeys(
        ("add_image", "publicize_image", "communitize_image", "get_deleted_image", "undelete_image"), _OWNER
    ),
    "change_owner": frozenset(),
    **dict.fromkeys(("get_images", "get_tasks", "tasks_api_access", "get_deleted_images"), _OWNER),
}
"""Which attributes the target of each rule has; that of a list is the caller's project."""

NONE: Final[AbstractSet[str]] = frozenset()
"""A property has no attributes to look at."""

DEFAULT: Final = "default"
"""A rule of the reference that allows everybody, and which files of properties name."""

NOT_SERVED: Final = frozenset(
    {
        "get_image_location", "set_image_location", "delete_image_location", "add_image_location",
        "fetch_image_location", "copy_image", "download_from_store", "stores_info_detail", "manage_image_cache",
        "cache_image", "cache_list", "cache_delete", "list_cached_nodes", "add_task",
        "modify_task", "default", "metadef_default", "metadef_admin", "get_metadef_namespace",
        "get_metadef_namespaces", "modify_metadef_namespace", "add_metadef_namespace", "delete_metadef_namespace",
        "get_metadef_object", "get_metadef_objects", "modify_metadef_object", "add_metadef_object",
        "delete_metadef_object", "list_metadef_resource_types", "get_metadef_resource_type",
        "add_metadef_resource_type_association", "remove_metadef_resource_type_association",
        "get_metadef_property", "get_metadef_properties", "modify_metadef_property", "add_metadef_property",
        "remove_metadef_property", "get_metadef_tag", "get_metadef_tags", "modify_metadef_tag", "add_metadef_tag",
        "add_metadef_tags", "delete_metadef_tag", "delete_metadef_tags",
    }
)  # fmt: skip
"""Rules of the reference for acts that this service does not have: a file may name them, and they do nothing."""
