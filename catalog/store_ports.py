"""What the use cases need of the places where images' bytes lie: stores, and the set of those that are configured.

A **store** keeps **copies**: one copy is the flat bytes of one image at one URL. Our own blocks are no copy in this
sense; they are read and written through `ports.Blocks`, and stand in the set as the store named `blocks`. One suite
holds for all stores, `tests/contracts/stores.py`.

What every store promises:
- A URL is made by `place` for one write, and names those bytes for ever after: never used again, never changed.
- A copy is whole or not there: a write that was cut off leaves nothing that `open` gives.
- Nothing waits for ever: every call ends within the store's time-outs, with StoreDown at worst.
- No URL, name or message that leaves a store has a credential in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from catalog.model.location import Location


class CopyReader(Protocol):
    """The flat bytes of an image, open for reading; `size` in bytes."""

    @property
    def size(self) -> int:
        """The copy's length."""
        ...

    def read(self, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """The bytes from `start` up to `stop`, in pieces of at most 1 MiB; a piece is valid until the next one.

        Raises StoreDown or CopyLost when the rest cannot be had from here; what was given until then was right. Never
        ends early without an error.
        """
        ...

    def close(self) -> None:
        """Give back what reading holds; may be called again."""
        ...


class Store(Protocol):
    """One configured store. Everything but `place` and `owns` may take time; all may be cancelled at any await."""

    @property
    def info(self) -> StoreInfo:
        """What it is called, and what clients may know of it."""
        ...

    def owns(self, url: str) -> bool:
        """Whether this URL is one of this store's: by its form, without asking anybody."""
        ...

    def place(self, image_id: str) -> str:
        """A URL for a new copy of this image, never given before. Raises StoreReadOnly."""
        ...

    async def open(self, url: str, size: int | None) -> CopyReader:
        """Open a copy; `size` is what it must have, None: whatever it has.

        Raises CopyLost if the store is there and this copy isn't, or is of another size; StoreDown otherwise.
        """
        ...

    async def write(self, url: str, source: CopyReader) -> None:
        """Keep all of `source` at a URL of `place`; when this returns the copy is durable. Holes stay holes.

        The same URL again writes it anew: a worker that was killed left perhaps something. What `source` raises passes
        through. Raises StoreFull, StoreDown, StoreReadOnly. After any failure `open` finds nothing there; leftovers, if
        the store can have such, are gone after `remove`.
        """
        ...

    async def remove(self, url: str) -> None:
        """Let a copy go, and all leftovers of writing it; one that is gone already is no error. Raises StoreDown."""
        ...

    async def check(self) -> None:
        """Find out, within seconds, whether the store can be used now. Raises StoreDown, saying what is wrong."""
        ...

    def path(self, url: str) -> str | None:
        """The local file that the copy is, for a quick clone on this machine; None where it is none."""
        ...

    async def close(self) -> None:
        """Let connections go; at the end of the process."""
        ...


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store is, as operators and clients see it.

    `kind` is `blocks`, `file`, `http`, `s3`, `swift` or `opaque` (URLs that are kept and shown, never read). Reads go
    to the heaviest first. `volatile`: its copies may vanish with their volume, and are put back. `properties` are told
    to admins by `/v2/info/stores/detail`, without secrets.
    """

    name: str
    kind: str
    description: str | None = None
    weight: int = 0
    read_only: bool = False
    default: bool = False
    volatile: bool = False
    properties: Mapping[str, str | int | bool] = field(default_factory=dict)


class Stores(Protocol):
    """The configured stores, and which of them answer just now. Only the event loop's thread touches it.

    Health is this process's own and no record: a place that failed is **set aside**, asked last and not at all until
    its pause is over (doubled each time), and is in its order again after the first success.
    """

    @property
    def several(self) -> bool:
        """Whether stores were configured: if not, `blocks` is all there is and no client hears of stores."""
        ...

    @property
    def default(self) -> str:
        """The store that takes images when nobody says another."""
        ...

    def infos(self) -> Sequence[StoreInfo]:
        """All of them, `blocks` among them, the heaviest first, then in the order of their names."""
        ...

    def info(self, name: str) -> StoreInfo | None:
        """The one with this name, `blocks` among them."""
        ...

    def get(self, name: str) -> Store | None:
        """The store with this name; None for an unknown one, and for `blocks`, which is no `Store`."""
        ...

    def of_url(self, url: str) -> Store | None:
        """The store that this URL is one of, if any."""
        ...

    def ordered(self, locations: Sequence[Location], prefer: Sequence[str] = ()) -> Sequence[Location]:
        """The same locations as clients see them: by weight, those of `prefer` first and in its order."""
        ...

    def to_try(self, locations: Sequence[Location], prefer: Sequence[str] = ()) -> Sequence[Location]:
        """Those that may be read now (active ones, of stores that know them), in the order in which to try them.

        As `ordered`, those that are set aside last, the one whose pause ends soonest first.
        """
        ...

    def failed(self, location: Location) -> None:
        """Reading from there failed, or writing there; as StoreDown says it, not CopyLost."""
        ...

    def worked(self, location: Location) -> None:
        """Reading from there, or writing there, went well."""
        ...

    def is_aside(self, name: str) -> bool:
        """Whether the store with this name is set aside now: what can wait had better not be tried there."""
        ...

    async def watch(self) -> None:
        """Ask all stores now and then how they are, those that are set aside when their pause ends; until cancelled."""
        ...

    async def close(self) -> None:
        """Let all stores' connections go; at the end of the process."""
        ...
