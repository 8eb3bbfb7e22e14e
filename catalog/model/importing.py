"""An import: what it was asked to do, and the attributes by which an image tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from catalog.model.location import OUR_STORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from catalog.model.caller import Caller
    from catalog.model.image import Image
    from catalog.model.task import Task

IMPORT: Final = "api_image_import"
"""The type of the tasks that import into an image, whatever the method."""

IMPORT_TASK: Final = "import"
"""The type of those that made their image, too, from a URL: the older way to ask for it."""

LOCK: Final = "os_glance_import_task"
"""The property that names the task which imports into the image now."""

LEFT: Final = "os_glance_importing_to_stores"
"""The property that lists the stores which are to have a copy and have none yet."""

CONVERT: Final = "convert"
"""The type of the tasks that make a new image of another one, in another format; and the method of their plan."""

FAILED: Final = "os_glance_failed_import"
"""The property that lists the stores which got no copy."""


RULES: Final = "import_rules"
"""What a task's input has of ImportRules, where there are such."""

_READY: Final = "import_ready"


class Method(StrEnum):
    """The ways of import, by their names in the Images API."""

    GLANCE_DIRECT = "glance-direct"
    WEB_DOWNLOAD = "web-download"
    COPY_IMAGE = "copy-image"
    GLANCE_DOWNLOAD = "glance-download"


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What the operator has done with all that is imported, unless it is an image's already.

    `convert` is the `disk_format` that disks are to have, None: as they came. `decompress`: what is compressed is
    unpacked. `inject` are properties that images get, except from callers with a role of `ignored_roles`.
    """

    convert: str | None = None
    decompress: bool = False
    inject: Mapping[str, str] = field(default_factory=dict)
    ignored_roles: frozenset[str] = frozenset({"admin"})

    def said_to(self, caller: Caller) -> Mapping[str, object]:
        """What of it holds for an import that this caller asks for, as the task's input says it."""
        inject = {} if self.ignored_roles & caller.roles else dict(self.inject)
        said = {"convert": self.convert, "decompress": self.decompress, "inject": inject}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Ready:
    """What a task's staged bytes are once they were unpacked and converted: `staged` is the id of their record."""

    staged: str
    disk_format: str

    @classmethod
    def of(cls, task: Task) -> Ready | None:
        """As the task's input says it; None: they are as they came."""
        said: Any = task.input.get(_READY)
        return None if said is None else cls(said["staged"], said["disk_format"])

    def said_in(self, task: Task) -> Task:
        """The task, which says it in its input."""
        return replace(task, input={**task.input, _READY: {"staged": self.staged, "disk_format": self.disk_format}})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a task of an import is to do, as its input has it.

    `stores` in the order in which they get their copies, our own first, as that copies nothing. `tells_stores`: whether
    clients hear of stores at all. `method` is the request's own object: its name, and what that method wants to know.
    `convert`, `decompress` and `inject` as ImportRules has them, as they were when it was asked for.
    """

    method: Mapping[str, Any]
    stores: Sequence[str]
    tells_stores: bool
    all_must_succeed: bool = True
    convert: str | None = None
    decompress: bool = False
    inject: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task) -> Plan:
        """The plan of a task."""
        given: Any = task.input
        stores = given["backend"]
        web = {"method": {"name": Method.WEB_DOWNLOAD.value, "uri": given.get("import_from", "")}}
        asked = given.get("import_req", web)
        return cls(
            method=asked["method"],
            stores=sorted((store or OUR_STORE for store in stores), key=lambda store: store != OUR_STORE),
            tells_stores=None not in stores,
            all_must_succeed=asked.get("all_stores_must_succeed", True),
            **given.get(RULES, {}),
        )

    @property
    def copies(self) -> bool:
        """Whether the image has its bytes already, and keeps its status whatever becomes of the import."""
        return bool(self.method["name"] == Method.COPY_IMAGE)

    def left(self, image: Image) -> Sequence[str]:
        """The stores that have no copy and have not failed."""
        done = {location.store for location in image.locations} | listed(image, FAILED)
        return [store for store in self.stores if store not in done]


def begin(image: Image, task_id: str, plan: Plan) -> None:
    """The image tells that this task imports into it."""
    image.properties[LOCK] = task_id
    if plan.tells_stores:
        _list(image, LEFT, plan.stores)
        _list(image, FAILED, ())


def has_come(image: Image, store: str) -> None:
    """A store has its copy."""
    if LEFT in image.properties:
        _list(image, LEFT, listed(image, LEFT) - {store})


def has_failed(image: Image, stores: Iterable[str]) -> None:
    """Stores get no copy."""
    if LEFT in image.properties:
        _list(image, FAILED, listed(image, FAILED) | set(stores))
        _list(image, LEFT, listed(image, LEFT) - set(stores))


def end(image: Image) -> None:
    """Nothing imports into the image any more."""
    image.properties.pop(LOCK, None)
    if LEFT in image.properties:
        _list(image, LEFT, ())


def listed(image: Image, name: str) -> frozenset[str]:
    """The stores that one of the two properties lists."""
    return frozenset(filter(None, image.properties.get(name, "").split(",")))


def _list(image: Image, name: str, stores: Iterable[str]) -> None:
    image.properties[name] = ",".join(sorted(stores))
