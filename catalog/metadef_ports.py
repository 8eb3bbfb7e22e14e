"""What metadata definitions need of the database.

A contract beside those of `ports.py`; `sql/metadefs.py` fulfils it. A namespace is named by its name, which has to be
there where nothing else is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from catalog.model.metadef import Kind, Namespace, NamespaceQuery, Part, ResourceType, Usage


class Metadefs(Protocol):
    """Namespaces and what they have, in one transaction."""

    def add(self, namespace: Namespace) -> None:
        """Keep a new namespace. Raises Conflict when its name is taken."""
        ...

    def get(self, name: str) -> Namespace | None:
        """The namespace, or None."""
        ...

    def save(self, name: str, namespace: Namespace) -> None:
        """What is called so becomes this, with all that it has. Raises Conflict when a new name is taken."""
        ...

    def remove(self, name: str) -> None:
        """Forget the namespace with all that it has; types of resources stay."""
        ...

    def page(
        self, project: str | None, query: NamespaceQuery, after: Namespace | None
    ) -> tuple[Sequence[Namespace], bool]:
        """The project's namespaces and public ones (of None all), behind `after`, and whether more follow."""
        ...

    def add_part(self, namespace: str, part: Part) -> None:
        """Keep it, and its type of resource. Raises Conflict when the namespace has one of this kind and name."""
        ...

    def part(self, namespace: str, kind: Kind, name: str) -> Part | None:
        """One thing that a namespace has, or None."""
        ...

    def parts(self, namespace: str) -> Sequence[Part]:
        """All that it has, in the order of their coming."""
        ...

    def parts_of_kind(self, namespaces: Collection[str], kind: Kind) -> Mapping[str, Sequence[Part]]:
        """What these namespaces have of one kind, by the namespace, in the order of their coming; by few statements."""
        ...

    def save_part(self, namespace: str, name: str, part: Part) -> None:
        """What is called so becomes this. Raises Conflict when a new name is taken."""
        ...

    def remove_part(self, namespace: str, kind: Kind, name: str) -> bool:
        """Forget it; whether it was there."""
        ...

    def remove_parts(self, namespace: str, kind: Kind) -> None:
        """Forget all of a kind."""
        ...

    def usage(self, namespace: str) -> Usage:
        """How much it has."""
        ...

    def names(self) -> Sequence[str]:
        """Of all namespaces, in their order."""
        ...

    def resource_types(self) -> Sequence[ResourceType]:
        """All that were ever associated, in the order of their coming."""
        ...

    def forget_resource_types(self) -> None:
        """Those that no namespace is associated with."""
        ...
