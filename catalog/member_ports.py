"""What the use cases need of members; `sql/members.py` fulfils it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.image import Image
    from catalog.model.member import Member


class Members(Protocol):
    """Members in one transaction. They stay when an image is not `shared` any more, and go and come back with it."""

    def add(self, image: Image, member: Member) -> None:
        """Keep a new member of the image. Raises Conflict when the project is one already."""
        ...

    def get(self, image_id: str, project: str) -> Member | None:
        """The member, or None."""
        ...

    def of_image(self, image_id: str) -> Sequence[Member]:
        """The image's members, in the order in which they were added."""
        ...

    def save(self, member: Member) -> None:
        """Write back a member that is there."""
        ...

    def remove(self, member: Member) -> None:
        """Forget the member."""
        ...
