"""Which ways of import are served: what the setting says, of those that this service can serve as it is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.importing import Method
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from catalog.store_ports import Stores
    from httpapi.settings import Settings

USUAL: Final = (Method.GLANCE_DIRECT,)
"""Those that are served when nothing is said."""


def import_methods(settings: Settings, stores: Stores) -> tuple[Method, ...]:
    """The ways of import, in the order in which clients are told of them. Raises SettingsRefused."""
    if settings.import_methods is None:
        return USUAL
    if Method.COPY_IMAGE in settings.import_methods and not stores.several:
        raise SettingsRefused("import_methods names copy-image, which needs stores to copy to: set stores_file.")
    return tuple(method for method in Method if method in settings.import_methods)
