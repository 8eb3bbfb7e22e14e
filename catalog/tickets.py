"""What a signed URL holds: a ticket, with which whoever has it may read one image's bytes until it expires.

Nobody's name stands in it and nothing of it is recorded: its key is what makes it good, and taking the key away ends
every ticket that it signed. As bytes it is, big-endian: magic, which also says the version (3), the key's id (6), when
it expires in seconds since 1970 (5), the image's id (16), and the beginning of HMAC-SHA256 over what stands before and
the file name of its URL (21). Base64url makes 68 characters of them, with no bit to spare: another text is another
ticket. A ticket that travels as a cookie is signed over no name, so one is not good for the other.
"""

from __future__ import annotations

import base64
import hmac
import re
import struct
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from catalog.model.errors import TicketRefused

if TYPE_CHECKING:
    from catalog.model.image import Image

MARK: Final = "dsu1"
"""How every ticket begins: what finds leaked secrets can look for it, and so does our log, which hides what follows."""

_MAGIC: Final = base64.urlsafe_b64decode(MARK)
_HEAD: Final = struct.Struct(f">{len(_MAGIC)}s6sBI16s")
_SUM: Final = 21
LENGTH: Final = (_HEAD.size + _SUM) * 4 // 3
_TEXT: Final = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}", re.ASCII)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class UrlKey:
    """A key: its id, 6 bytes, stands in what it signs; `secret` nowhere else than in the file of keys."""

    id: bytes
    secret: bytes = field(repr=False)


class UrlKeys(Protocol):
    """The keys that count now, in every process that serves the same images."""

    def find(self, key_id: bytes) -> UrlKey | None:
        """The key with this id, unless it was taken away."""
        ...

    async def newest(self) -> UrlKey:
        """The key that signs; the first one is made when there is none. Raises UrlKeysUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """May read `image_id` up to `expires`, in seconds since 1970; `key_id` says who signed."""

    key_id: bytes
    expires: int
    image_id: str

    @property
    def told(self) -> str:
        """What a log may say of it."""
        return f"{self.key_id.hex()}.{self.image_id}"


def signed(key: UrlKey, image_id: str, expires: int, name: str = "") -> str:
    """A ticket as text; `name` is the file name of its URL, none for a cookie."""
    head = _HEAD.pack(_MAGIC, key.id, expires >> 32, expires & 0xFFFFFFFF, uuid.UUID(image_id).bytes)
    return base64.urlsafe_b64encode(head + _sum(key, head, name)).decode()


def checked(keys: UrlKeys, text: str, now: float, name: str = "") -> Ticket:
    """The ticket that this text is, if a key that counts signed it over this name and it lasts; else TicketRefused."""
    ticket = ticket_in(text)
    key = None if ticket is None else keys.find(ticket.key_id)
    if ticket is None or key is None:
        raise refusal()
    raw = base64.urlsafe_b64decode(text)
    head, told = raw[: _HEAD.size], raw[_HEAD.size :]
    if not hmac.compare_digest(told, _sum(key, head, name)) or ticket.expires <= now:
        raise refusal()
    return ticket


def refusal() -> TicketRefused:
    """The error for every reason, in the same words, so that none can be told from another."""
    return TicketRefused("This signed URL or cookie is not good for this, or not any more: ask for a new one.")


def ticket_in(text: str) -> Ticket | None:
    """What a text says of itself that has a ticket's form; whether it is good only `checked` knows."""
    if _TEXT.fullmatch(text) is None:
        return None
    magic, key_id, high, low, image = _HEAD.unpack(base64.urlsafe_b64decode(text)[: _HEAD.size])
    return Ticket(key_id, high << 32 | low, str(uuid.UUID(bytes=image))) if magic == _MAGIC else None


def file_name(image: Image) -> str:
    """What a URL calls the image: by its name, as far as no character of it wants an escape, and its disk format."""
    plain = _UNFIT.sub("-", image.name or "").strip(".-_")[:_LONGEST_NAME] or "image"
    suffix = f".{image.disk_format}" if image.disk_format else ""
    return plain if suffix and plain.endswith(suffix) else plain + suffix


def _sum(key: UrlKey, head: bytes, name: str) -> bytes:
    return hmac.digest(key.secret, head + name.encode(errors="surrogateescape"), "sha256")[:_SUM]
