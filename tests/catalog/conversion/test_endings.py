"""Whose fault it is that a program ended badly: of the file, which is then refused, or of the machine."""

from __future__ import annotations

from signal import Signals

import pytest

from catalog.conversion.cage import Ended
from catalog.conversion.endings import fault_of
from catalog.conversion.qemu_img import _fault
from catalog.conversion.unpacking import _compression
from catalog.model.errors import ConversionFailed, ConversionRefused, StoreFull


def by(number: Signals) -> Ended:
    return Ended(128 + number, number, b"", b"Killed")


@pytest.mark.parametrize("number", [Signals.SIGKILL, Signals.SIGTERM])
def test_who_ends_it_from_outside_has_it_tried_again(number: Signals) -> None:
    assert isinstance(fault_of(by(number), "it"), ConversionFailed)
    with pytest.raises(ConversionFailed, match="outside"):
        _compression(by(number))


@pytest.mark.parametrize("number", [Signals.SIGXCPU, Signals.SIGSEGV, Signals.SIGABRT, Signals.SIGXFSZ])
def test_what_breaks_a_program_or_wears_it_out_is_refused_also_when_it_unpacks(number: Signals) -> None:
    assert isinstance(fault_of(by(number), "it"), ConversionRefused)
    with pytest.raises(ConversionRefused):
        _compression(by(number))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"qemu-img: error while writing at byte 5: No space left on device", StoreFull),
        (b"qemu-img: error while writing at byte 5: Disk quota exceeded", StoreFull),
        (b"qemu-img: error while writing at byte 5: Input/output error", ConversionFailed),
        (b"qemu-img: error while reading at byte 5: Input/output error", ConversionRefused),
        (b"qemu-img: error while writing at byte 5: File too large", ConversionRefused),
        (b"qemu-img: Could not open 'json:{}}': Image is not in qcow2 format", ConversionRefused),
        (b"setpriv: setresuid failed: Resource temporarily unavailable", ConversionFailed),
        (b"prlimit: failed to set the NPROC resource limit: Operation not permitted", ConversionFailed),
    ],
)
def test_what_qemu_img_says_is_taken_for_what_it_means(said: bytes, error: type[Exception]) -> None:
    assert type(_fault(Ended(1, None, b"", said), "qcow2", "convert")) is error


def test_a_program_that_ended_by_itself_is_nobodys_fault_yet() -> None:
    assert fault_of(Ended(1, None, b"", b"Traceback"), "it") is None
    with pytest.raises(ConversionFailed, match="ended with 1"):
        _compression(Ended(1, None, b"", b"Traceback"))
