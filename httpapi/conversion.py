"""Who converts images, as the settings say it, and what the machine allows of the cage that this happens in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.conversion import programs
from catalog.conversion.cage import CageLimits
from catalog.conversion.converter import CagedConverter
from catalog.model.errors import ConversionUnavailable
from httpapi.settings import SettingsRefused

if TYPE_CHECKING:
    from httpapi.settings import Settings


def converter_of(settings: Settings) -> CagedConverter:
    """One process's converter; starts nothing yet."""
    limits = CageLimits(
        user=settings.convert_user,
        memory=settings.convert_memory,
        cpu_time=max(1, round(settings.convert_cpu_time)),
        seconds=settings.convert_seconds,
    )
    return CagedConverter(limits, longest=settings.convert_limit)


def describe_conversion(settings: Settings) -> str:
    """What this machine can do, in a few words; starts a program that does nothing, to see whether it may."""
    try:
        return converter_of(settings).describe()
    except ConversionUnavailable as error:
        return f"none: {error}"


def check_programs() -> None:
    """Raise SettingsRefused, with what to install, if qemu-img is missing; starts nothing."""
    try:
        programs.QEMU_IMG.path()
    except ConversionUnavailable as error:
        raise SettingsRefused(f"Imports are to be converted or unpacked, and {error}") from None
