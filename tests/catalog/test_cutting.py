from __future__ import annotations

from datetime import UTC, datetime

import pytest

from catalog.cutting import PROPERTY, check_cutting, cutting_of
from catalog.limits import Limits
from catalog.model.errors import Invalid
from catalog.model.image import Image

AT = datetime(2026, 11, 1, tzinfo=UTC)


def cut(disk: str, container: str, wish: str | None = None) -> str:
    properties = {} if wish is None else {PROPERTY: wish}
    image = Image(
        id="1", owner="me", created_at=AT, updated_at=AT, disk_format=disk, container_format=container,
        properties=properties,
    )  # fmt: skip
    return str(cutting_of(image, 4096))


@pytest.mark.parametrize("disk", sorted(Limits().disk_formats - {"iso"}))
@pytest.mark.parametrize("container", ["bare", "ovf", "ami", "aki", "ari"])
def test_disks_whose_bytes_keep_their_places_are_cut_evenly(disk: str, container: str) -> None:
    assert cut(disk, container) == "fixed:4KiB"


@pytest.mark.parametrize("disk", ["raw", "qcow2", "iso"])
@pytest.mark.parametrize("container", ["ova", "docker", "compressed"])
def test_archives_and_what_is_compressed_is_cut_by_content(disk: str, container: str) -> None:
    assert cut(disk, container) == "content-defined:64KiB"


def test_an_iso_is_cut_by_content() -> None:
    assert cut("iso", "bare") == "content-defined:64KiB"


@pytest.mark.parametrize(
    ("wish", "got"),
    [
        ("fixed", "fixed:4KiB"),
        ("fixed:128KiB", "fixed:128KiB"),
        ("content-defined", "content-defined:64KiB"),
        ("content-defined:128KiB", "content-defined:128KiB"),
    ],
)
@pytest.mark.parametrize("disk", ["raw", "iso"])
def test_the_property_overrides_the_formats(disk: str, wish: str, got: str) -> None:
    assert cut(disk, "bare", wish) == got


@pytest.mark.parametrize("wish", ["", "rolling", "fixed:3KiB", "content-defined:8MiB"])
def test_a_wish_that_can_not_be_fulfilled_is_refused_with_what_can(wish: str) -> None:
    for refused in (lambda: check_cutting({PROPERTY: wish}), lambda: cut("raw", "bare", wish)):
        with pytest.raises(Invalid, match=rf"Invalid {PROPERTY} '.*'; it is fixed, content-defined, or either with"):
            refused()


def test_other_properties_are_nobodys_matter_here() -> None:
    check_cutting({"os_distro": "debian"})
