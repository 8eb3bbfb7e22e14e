"""What the settings say of imports: which are unpacked and converted, what images get, and where that is worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.limits import Limits
from catalog.model.change import CHANGEABLE
from catalog.model.errors import CatalogError
from catalog.model.importing import ImportRules
from catalog.model.known_properties import RESERVED_PREFIX, property_value
from catalog.model.new_image import NewImage
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from pathlib import Path

    from httpapi.settings import Settings


def import_rules(settings: Settings) -> ImportRules:
    """The rules. Raises SettingsRefused for properties that no image may have."""
    pairs = (each.partition("=") for each in settings.import_inject)
    inject = {key.strip(): text.strip() for key, _, text in pairs}
    for name, text in inject.items():
        if name in CHANGEABLE or name.startswith(RESERVED_PREFIX):
            raise SettingsRefused(
                f"import_inject names {name}, which is no extra property that an image could be given."
            )
        try:
            property_value(name, text)
            Limits().check_new_image(NewImage(properties={name: text}))
        except CatalogError as error:
            raise SettingsRefused(f"import_inject: {error}") from None
    return ImportRules(
        convert=None if settings.import_convert == "off" else settings.import_convert,
        decompress=settings.import_decompress,
        inject=inject,
        ignored_roles=settings.import_inject_ignore_roles,
    )


def work_directory(settings: Settings) -> Path:
    """Where jobs have files worked on."""
    return settings.work_dir if settings.work_dir is not None else settings.data / "work"


def describe_imports(rules: ImportRules) -> str:
    """What is done with what is imported, in a few words."""
    done = [
        *(["unpacked if it is compressed"] if rules.decompress else []),
        *([f"converted to {rules.convert}"] if rules.convert else []),
        *([f"given {', '.join(sorted(rules.inject))}"] if rules.inject else []),
    ]
    return f"{' and '.join(done)}" if done else "kept as they come"
