"""What a caller can be told by the catalog, as one tree; each message is a sentence for the user.

    CatalogError
    ├── Invalid                  400  a bad attribute, filter, marker or limit
    │   ├── SizeMismatch         400  the body is shorter or longer than was announced
    │   └── AddressRefused       400  a URL that the service does not ask
    ├── SourceLost               400  the sender of a body went away or broke the transfer
    │   ├── SourceRefused        400  who was asked for a file does not give it
    │   └── SourceChanged        400  a file changed elsewhere while it was fetched
    ├── Forbidden                403  the image is visible, the act is not permitted
    │   ├── TicketRefused        403  a signed URL or cookie that is not good, for whatever reason
    │   ├── ReadOnlyAttribute    403  the service alone sets this attribute
    │   ├── StoreReadOnly        403  nothing can be written to, or removed from, this store
    │   └── ReservedAttribute    403  no caller may use this name
    │       └── ProtectedProperty 403  the operator's rules keep this property from the caller
    ├── NotFound                 404  there is no such image, or none that this caller may see
    ├── Conflict                 409  the wrong state, an id that is taken, something in use
    │   ├── NoBlocks             409  the image's bytes are not among our blocks, which this needs
    │   └── NotReadable          409  the image lies only where this service does not read
    ├── NoData                   204  the image is there, its bytes are not (yet)
    ├── Gone                     410  the image was deleted during the upload, or its pin is gone
    │   └── TooLate              410  a deleted image that cannot be brought back any more
    ├── LimitExceeded            413  over a limit
    │   └── QuotaExceeded        413  over a quota of the project
    ├── FormatRefused            415  bytes that are not of the image's format, or not safe to open
    │   └── ConversionRefused    415  a file that cannot be converted or unpacked, now or later
    ├── ConversionFailed         503  a conversion that the machine ended; a later try may do
    │   └── ConversionUnavailable 503 what converts is not installed
    ├── CatalogFull              413  the disk below the catalog is full
    ├── StoreFull                413  a store, not ours of blocks, has no room for a copy
    ├── CopyLost                 503  a store is there, and a copy in it is not
    │   └── CopyWrong            503  the copy is there and holds other bytes than the image
    ├── StoreDown                503  a store cannot be asked now
    └── CatalogUnavailable       503  the database is locked for too long, or its disk fails
        └── UrlKeysUnavailable   503  the keys of signed URLs cannot be read or made

The numbers are what HTTP answers; they stand here to explain, the table that acts is httpapi's.
"""

from __future__ import annotations

from typing import ClassVar


class CatalogError(Exception):
    """Root of the tree; `code` is the documented name that clients and logs see."""

    code: ClassVar[str] = "catalog-error"


class Invalid(CatalogError):
    """What was asked cannot be understood or has no meaning; the message names the part."""

    code = "invalid"


class SizeMismatch(Invalid):
    """The body holds more or fewer bytes than its sender announced."""

    code = "size-mismatch"


class AddressRefused(Invalid):
    """A URL that the service does not ask, by its form or by where it leads; the message names the rule."""

    code = "address-refused"


class SourceLost(CatalogError):
    """The sender of a body went away, or what came is no valid transfer; nothing of it is kept."""

    code = "source-lost"


class SourceRefused(SourceLost):
    """Whoever was asked for a file answers, and does not give it; `status` is the answer's, 0 if it has none."""

    code = "source-refused"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def absent(self) -> bool:
        """Whether the answer was that there is none."""
        return self.status in {404, 410}


class SourceChanged(SourceLost):
    """A file is not the one any more whose beginning was fetched: a mixture is never kept."""

    code = "source-changed"


class Forbidden(CatalogError):
    """The caller may see the image (or none is involved) and may not do this."""

    code = "forbidden"


class TicketRefused(Forbidden):
    """A signed URL or cookie that is not good: one message for every reason, as they would tell of others' images."""

    code = "ticket-refused"


class ReadOnlyAttribute(Forbidden):
    """An attribute that only the service itself sets."""

    code = "read-only-attribute"


class ReservedAttribute(Forbidden):
    """A name that callers may not use for an attribute."""

    code = "reserved-attribute"


class ProtectedProperty(ReservedAttribute):
    """The operator's rules let others do this with a property of that name."""

    code = "protected-property"


class NotFound(CatalogError):
    """Unknown and invisible look the same, so that nobody learns what others have."""

    code = "not-found"


class Conflict(CatalogError):
    """The image is not in a state that allows this, or another one was faster."""

    code = "conflict"


class NoBlocks(Conflict):
    """What was asked needs the image's blocks, and its bytes lie in other stores only."""

    code = "no-blocks"


class NotReadable(Conflict):
    """The image's bytes lie in places alone that are kept and shown, and never read here."""

    code = "not-readable"


class NoData(CatalogError):
    """The image has no bytes yet; no failure, only nothing to send."""

    code = "no-data"


class Gone(CatalogError):
    """The image was deleted while its bytes came in, or what held those bytes has expired."""

    code = "gone"


class TooLate(Gone):
    """The image was deleted, and its data is not kept any more."""

    code = "too-late"


class LimitExceeded(CatalogError):
    """More than a limit allows."""

    code = "limit-exceeded"


class QuotaExceeded(LimitExceeded):
    """More than the project may have; `quota` names which one."""

    code = "quota-exceeded"

    def __init__(self, message: str, quota: str = "") -> None:
        super().__init__(message)
        self.quota = quota


class FormatRefused(CatalogError):
    """The bytes are not of the format that the image is said to have, or are not safe to open; nothing is kept."""

    code = "format-refused"


class ConversionRefused(FormatRefused):
    """A file that cannot be converted or unpacked, however often it is tried; nothing of it is kept."""

    code = "conversion-refused"


class ConversionFailed(CatalogError):
    """A conversion that was ended by the machine's limits, not by its file; nothing of it is kept."""

    code = "conversion-failed"


class ConversionUnavailable(ConversionFailed):
    """This machine lacks a program that conversions need; the message says what to install."""

    code = "conversion-unavailable"


class CatalogFull(CatalogError):
    """No space for the catalog's own records; works again as soon as there is some."""

    code = "catalog-full"


class StoreFull(CatalogError):
    """A store has no room for a copy; nothing of it is kept."""

    code = "copy-store-full"


class StoreReadOnly(Forbidden):
    """A store that is only read."""

    code = "store-read-only"


class CopyLost(CatalogError):
    """The store is there, and a copy that should be in it is gone, or is another one by its size."""

    code = "copy-lost"


class CopyWrong(CopyLost):
    """A copy that holds other bytes than the image: as good as lost."""

    code = "copy-wrong"


class StoreDown(CatalogError):
    """A store cannot be asked now, or broke off; another place may have the same bytes."""

    code = "store-down"


class CatalogUnavailable(CatalogError):
    """The database cannot do this now; nothing was changed."""

    code = "catalog-unavailable"


class UrlKeysUnavailable(CatalogUnavailable):
    """The keys of signed URLs cannot be read or made; the message names their file."""

    code = "url-keys-unavailable"
