"""Which ways of import are served: what the setting says, of those that this service can serve as it is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from catalog.model.importing import Method
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from catalog.store_ports import Stores
    from httpapi.settings import Settings

USUAL: Final = (Method.GLANCE_DIRECT, Method.WEB_DOWNLOAD, Method.COPY_IMAGE)
"""Those that are served when nothing is said, where they can be."""


def import_methods(settings: Settings, stores: Stores) -> tuple[Method, ...]:
    """The ways of import, in the order in which clients are told of them. Raises SettingsRefused."""
    said = settings.import_methods
    if said is not None and Method.COPY_IMAGE in said and not stores.several:
        raise SettingsRefused("import_methods names copy-image, which needs stores to copy to: set stores_file.")
    if said is not None and Method.GLANCE_DOWNLOAD in said and settings.identity != "keystone":
        raise SettingsRefused(
            "import_methods names glance-download, which needs identity keystone: it knows the other services."
        )
    served = USUAL if said is None else [method for method in Method if method in said]
    return tuple(method for method in served if method is not Method.COPY_IMAGE or stores.several)
