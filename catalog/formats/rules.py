"""Which content an image may have: what is refused, what is only told, and how large its disk is then.

| `disk_format` | what its bytes may be |
|---|---|
| `raw` | anything that is safe; another format than a plain disk is told in the log |
| `ami`, `ari`, `aki`, `ploop` | a plain disk: `raw`, `gpt`, `luks` |
| `iso` | an ISO 9660 or UDF disc |
| `vhd`, `vhdx`, `vmdk`, `qcow2`, `vdi` | that format |

What is not safe is refused whatever it is called, since the next program may look for itself. Only images whose
container is `bare` are looked at: of any other these are not the disk's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from catalog.model.errors import FormatRefused

if TYPE_CHECKING:
    from catalog.formats.questions import Finding
    from catalog.model.image import Image


class Formats(StrEnum):
    """What is done about formats: refuse, tell in the log and take, or do not look."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


PLAIN: Final = frozenset({"raw", "gpt", "luks"})
"""Contents that are a disk as it is."""

_PLAIN_NAMES: Final = frozenset({"ami", "ari", "aki", "ploop"})


@dataclass(frozen=True, slots=True)
class Said:
    """What an image's record says of its bytes."""

    image_id: str
    disk_format: str
    container_format: str

    @classmethod
    def of(cls, image: Image) -> Said:
        """Of an image whose formats are set."""
        return cls(image.id, image.disk_format or "", image.container_format or "")

    def fault(self, finding: Finding) -> str | None:
        """Why these bytes are not taken for it; None if they are."""
        if finding.danger is not None:
            return f"The image's content is not safe to open ({finding.content}): {finding.danger}."
        if self.disk_format == "raw" or finding.content in self._contents():
            return None
        return (
            f"The image's disk_format is {self.disk_format}, its content {_spoken(finding.content)}: set disk_format "
            f"to {'raw' if finding.content in PLAIN else finding.content}, or upload other data."
        )

    def is_remarkable(self, finding: Finding) -> bool:
        """Whether a raw image has a content that is rarely meant to be raw."""
        return self.disk_format == "raw" and finding.content not in {*PLAIN, "iso"}

    def disk_size(self, finding: Finding | None, size: int) -> int | None:
        """The `virtual_size` of an image of `size` bytes; None where it is not known."""
        if self.container_format != "bare":
            return None
        if finding is None or (self.disk_format == "raw" and finding.content != "luks"):
            return size if self.disk_format == "raw" else None
        return finding.disk_size(size) if self.fault(finding) is None else None

    def _contents(self) -> frozenset[str]:
        return PLAIN if self.disk_format in _PLAIN_NAMES else frozenset({self.disk_format})


def refuse(said: Said, finding: Finding) -> None:
    """Raise FormatRefused for what is not taken."""
    if (fault := said.fault(finding)) is not None:
        raise FormatRefused(fault)


def _spoken(content: str) -> str:
    return "is a plain disk" if content in PLAIN else f"looks like {content}"
