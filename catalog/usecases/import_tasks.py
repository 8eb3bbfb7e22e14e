"""The older way to import: a task that makes an image, and fetches its bytes from a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from catalog import policy
from catalog.model.errors import Forbidden, Invalid
from catalog.model.importing import IMPORT_TASK, Method
from catalog.usecases import images, imports
from catalog.usecases.attributes import new_image
from catalog.usecases.imports import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.model.caller import Caller
    from catalog.model.new_image import NewImage
    from catalog.model.task import Task
    from catalog.usecases.services import Services

_LONGEST: Final = 2048


def check_may_create(caller: Caller) -> None:
    """Raises Forbidden for whoever may not make a task by asking for it."""
    if not policy.may_create_tasks(caller):
        raise Forbidden("You are not permitted to make tasks; by default that needs the role admin.")


async def create(
    services: Services, caller: Caller, kind: str, given: Mapping[str, Any], *, request_id: str | None = None
) -> Task:
    """A task of type `import`: its image is there at once, queued, and is imported into as by `web-download`.

    `given` are `import_from`, a URL, `import_from_format` and `image_properties`. All of it is looked at before the
    image is made. Raises Forbidden, Invalid (another type, too), AddressRefused, LimitExceeded, QuotaExceeded and
    Conflict.
    """
    check_may_create(caller)
    if kind != IMPORT_TASK:
        raise Invalid(f"No task of type {kind[:80]!r} is made by asking for it: the only one that is, is import.")
    if Method.WEB_DOWNLOAD not in services.import_methods:
        raise Invalid("A task of type import fetches an image from a URL, which this service does not do.")
    url = _text(given, "import_from")
    told = {"import_from": url, "import_from_format": _text(given, "import_from_format")}
    new = _image(given.get("image_properties"))
    await services.outgoing.check(url)
    image = await images.create(services, caller, new)
    method = {"name": Method.WEB_DOWNLOAD.value, "uri": url}
    asked = Asked(method, told=told | {"image_properties": given["image_properties"]})
    return await imports.start(services, caller, image.id, asked, request_id=request_id)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise Invalid(f"input.{name} of a task of type import is a text of up to {_LONGEST} characters.")
    return value


def _image(attributes: object) -> NewImage:
    if not isinstance(attributes, dict):
        raise Invalid("input.image_properties of a task of type import is an object: the new image's attributes.")
    new = new_image(attributes)
    if new.disk_format is None or new.container_format is None:
        raise Invalid("input.image_properties has disk_format and container_format: an image is imported with them.")
    return new
