"""What the use cases need of manifests and pins; `sql/manifests.py` and `sql/pins.py` fulfil it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.model.manifest import Ancestor, Manifest, StoredManifest
    from catalog.model.pin import Pin


class Manifests(Protocol):
    """Manifests in one transaction."""

    def add(self, manifest: Manifest) -> None:
        """Keep a live manifest; its base, if it names one, must be known."""
        ...

    def get(self, manifest_id: str) -> Manifest | None:
        """The manifest, or None."""
        ...

    def chain(self, manifest_id: str) -> Sequence[StoredManifest]:
        """The manifest and those below it, newest first; empty when it is unknown."""
        ...

    def ancestry(self, manifest_id: str) -> Sequence[Ancestor]:
        """The manifest and those below it, newest first, and which of them images have."""
        ...

    def retire_unnamed(self, manifest_id: str) -> str | None:
        """Retire the manifest if no image, kept or not, no pin and no live child names it; then its base likewise.

        Gives the first of them that stays live, None when none does.
        """
        ...

    def last_heirs(self, manifest_id: str) -> Sequence[str]:
        """The images that have the one live child of this manifest, while no image and no pin names that one itself.

        A child that nothing but its own only child names is passed over for that one. Empty otherwise.
        """
        ...


class Pins(Protocol):
    """Pins in one transaction."""

    def add(self, pin: Pin, *, bases: Sequence[str] = ()) -> None:
        """Keep a pin, which also holds the manifests `bases`."""
        ...

    def of_image(self, image_id: str) -> Sequence[Pin]:
        """The pins of uploads into this image."""
        ...

    def bases(self, pin_id: str) -> Sequence[str]:
        """The manifests that the pin holds."""
        ...

    def reserve(self, pin_id: str, more: int) -> None:
        """Let the pin, which is there, hold so many bytes more of its owner's quotas, until it is removed."""
        ...

    def give_to_job(self, pin_id: str, task_id: str) -> bool:
        """The pin is this task's job's from now and has no end of its own; False when it was gone already."""
        ...

    def remove(self, pin_id: str) -> bool:
        """Delete the pin and its hold on its bases; False when it was gone already."""
        ...
