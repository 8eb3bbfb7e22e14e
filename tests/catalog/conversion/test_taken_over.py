"""What becomes of answers that a program gives which its file has taken over: nothing that is believed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from catalog.conversion.cage import Cage, CageLimits, Ended
from catalog.conversion.qemu_img import QemuImg
from catalog.conversion.unpacking import unpacked
from catalog.model.errors import ConversionFailed, ConversionRefused

if TYPE_CHECKING:
    from pathlib import Path


class Lying(Cage):
    """A cage in which every program says the same, and ends well."""

    def __init__(self, out: bytes, err: bytes = b"") -> None:
        super().__init__(CageLimits(reserve=0))
        self._said = Ended(0, None, out, err)

    async def run(self, *_: object, **__: object) -> Ended:
        return self._said


@pytest.mark.parametrize(
    "out", [b"", b"[]", b"{}", b'{"virtual-size": [1]}', b'{"virtual-size":1,"format-specific":3}']
)
def test_an_answer_that_is_none_is_no_disk(tmp_path: Path, out: bytes) -> None:
    with pytest.raises(ConversionRefused, match="cannot be understood"):
        asyncio.run(QemuImg(Lying(out)).info(tmp_path, "source", "qcow2"))
    with pytest.raises(ConversionRefused, match="cannot be understood"):
        asyncio.run(QemuImg(Lying(out)).measure(tmp_path, "source", "qcow2"))


def test_a_file_that_leads_elsewhere_is_seen_in_what_is_told_of_it(tmp_path: Path) -> None:
    for more in (
        {"backing-filename": "/etc/passwd"},
        {"format-specific": {"data": {"data-file": "x"}}},
        {"format-specific": {"data": {"extents": [{"filename": "source"}, {"filename": "/etc/passwd"}]}}},
    ):
        told = json.dumps({"virtual-size": 1, **more}).encode()
        assert asyncio.run(QemuImg(Lying(told)).info(tmp_path, "source", "vmdk")).leads_elsewhere


@pytest.mark.parametrize("err", [b"", b"[]", b"{}", b'{"compression": "x"}', b'{"compression": ["gzip"]}', b"broke"])
def test_what_unpacks_is_believed_in_its_own_words_alone(tmp_path: Path, err: bytes) -> None:
    (tmp_path / "source").write_bytes(b"")
    with pytest.raises(ConversionFailed):
        asyncio.run(unpacked(Lying(b"", err), tmp_path, "source", "target", cap=1))
    assert [each.name for each in tmp_path.iterdir()] == ["source"]
