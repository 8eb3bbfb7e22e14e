"""What each rule of the policy judges: which attributes its target has, for `%(name)s`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.location_rules import JUDGE_CALLERS
from catalog.location_rules import JUDGE_IMAGES as LOCATIONS
from catalog.metadefs.rules import JUDGE_NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

_OWNER: Final = frozenset({"owner", "project_id", "tenant"})
_IMAGE: Final = _OWNER | {"id", "name", "visibility", "status", "protected", "os_hidden", "member_id"}
_TASK: Final = _OWNER | {"id", "type", "status"}
_OF_IMAGES: Final = (
    "get_image", "download_image", "upload_image", "modify_image", "delete_image", "deactivate", "reactivate",
    "add_member", "get_members", "get_member", "modify_member", "delete_member", "coalesce_image", "convert_image",
    *LOCATIONS,
)  # fmt: skip
TARGETS: Final[Mapping[str, AbstractSet[str]]] = {
    **dict.fromkeys(_OF_IMAGES, _IMAGE),
    **dict.fromkeys(("get_task", "cancel_task"), _TASK),
    **dict.fromkeys(
        ("add_image", "publicize_image", "communitize_image", "get_deleted_image", "undelete_image"), _OWNER
    ),
    "change_owner": frozenset(),
    **dict.fromkeys(JUDGE_NAMESPACES, _OWNER | {"visibility", "namespace", "protected"}),
    **dict.fromkeys(
        ("get_images", "get_metadef_namespaces", "get_tasks", "tasks_api_access", "get_deleted_images", *JUDGE_CALLERS),
        _OWNER,
    ),
}
"""Which attributes the target of each rule has; that of a list is the caller's project."""

NONE: Final[AbstractSet[str]] = frozenset()
"""A property has no attributes to look at."""

DEFAULT: Final = "default"
"""A rule of the reference that allows everybody, and which files of properties name."""

NOT_SERVED: Final = frozenset(
    {
        "manage_image_cache",
        "cache_image", "cache_list", "cache_delete", "list_cached_nodes", "add_task",
        "modify_task", "default",
    }
)  # fmt: skip
"""Rules of the reference for acts that this service does not have: a file may name them, and they do nothing."""
