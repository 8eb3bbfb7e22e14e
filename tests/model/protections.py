"""Protections: each is a switch of a model, and says what it stands for."""

from __future__ import annotations

from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.model.explore import Model


def protection(says: str) -> Any:
    """A switch that is on unless a model is told otherwise; `says` is the rule, as the collection keeps it."""
    return field(default=True, metadata={"says": says})


def protections(model: type[Model] | Model) -> Mapping[str, str]:
    """The switches of a model and what they say."""
    every = fields(model)  # type: ignore[arg-type] # each model is a dataclass
    return {each.name: each.metadata["says"] for each in every if "says" in each.metadata}


def without(model: Any, off: str) -> Any:
    """The same model, one protection switched off."""
    return replace(model, **{off: False})


def replaced(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    """The same items but for one."""
    return (*items[:at], item, *items[at + 1 :])
