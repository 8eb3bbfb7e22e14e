from __future__ import annotations

import pytest

from catalog.limits import Limits
from catalog.model.errors import Invalid, LimitExceeded, ReadOnlyAttribute, ReservedAttribute
from catalog.model.image import Visibility
from catalog.model.new_image import NewImage
from catalog.usecases.attributes import READ_ONLY, RESERVED, new_image


def test_nothing_said_is_a_shared_image_with_the_reference_defaults() -> None:
    assert new_image({}) == NewImage()
    assert NewImage().visibility is Visibility.SHARED


def test_base_attributes_are_typed_and_all_other_keys_are_properties() -> None:
    read = new_image(
        {
            "id": "6e0acd3c-0001-4fff-8fff-0123456789ab", "name": None, "owner": "wall", "visibility": "private",
            "protected": True, "os_hidden": True, "disk_format": "raw", "container_format": "bare", "min_disk": 3,
            "min_ram": 512, "tags": ["b", "a", "b"], "owner_specified.openstack.md5": "", "trait:X": "required",
        }
    )  # fmt: skip
    assert read == NewImage(
        id="6e0acd3c-0001-4fff-8fff-0123456789ab",
        owner="wall",
        visibility=Visibility.PRIVATE,
        protected=True,
        os_hidden=True,
        disk_format="raw",
        container_format="bare",
        min_disk=3,
        min_ram=512,
        tags=frozenset({"a", "b"}),
        properties={"owner_specified.openstack.md5": "", "trait:X": "required"},
    )


@pytest.mark.parametrize("key", sorted(READ_ONLY))
def test_what_the_service_sets_is_read_only(key: str) -> None:
    with pytest.raises(ReadOnlyAttribute, match=f"Attribute '{key}' is read-only"):
        new_image({key: "x"})


@pytest.mark.parametrize("key", [*sorted(RESERVED), "os_glance", "os_glance_import_task"])
def test_reserved_names_are_refused(key: str) -> None:
    with pytest.raises(ReservedAttribute, match=f"Attribute '{key}' is reserved"):
        new_image({key: "x"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 7), ("owner", []), ("visibility", "secret"), ("visibility", None), ("protected", "true"),
        ("os_hidden", 1), ("min_disk", "3"), ("min_ram", True), ("min_ram", 1.5), ("tags", "a"), ("tags", [1]),
        ("id", None), ("disk_format", 1), ("an_extra", None), ("an_extra", 7), ("an_extra", {"a": "b"}),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_named_in_the_refusal(key: str, value: object) -> None:
    with pytest.raises(Invalid, match=key):
        new_image({key: value})


@pytest.mark.parametrize(
    "new",
    [
        NewImage(name="n" * 256),
        NewImage(name="half a pair \ud800"),
        NewImage(name="a\0b"),
        NewImage(disk_format="floppy"),
        NewImage(disk_format=""),
        NewImage(container_format="box"),
        NewImage(min_disk=-1),
        NewImage(min_ram=2**31),
        NewImage(tags=frozenset({"t" * 256})),
        NewImage(properties={"k" * 256: "v"}),
        NewImage(properties={"k": "v" * 65536}),
        NewImage(properties={"k": "\udfff"}),
    ],
)
def test_values_out_of_bounds_are_invalid(new: NewImage) -> None:
    with pytest.raises(Invalid):
        Limits().check_new_image(new)


def test_values_at_the_bounds_are_fine() -> None:
    Limits().check_new_image(
        NewImage(
            name="n" * 255,
            min_disk=2**31 - 1,
            tags=frozenset(f"{number:0255}" for number in range(128)),
            properties={f"{number:0255}": "" if number else "v" * 65535 for number in range(128)},
        )
    )


def test_an_images_text_is_bounded_as_a_whole_and_counted_in_bytes() -> None:
    limits = Limits(text_bytes=20)
    limits.check_new_image(NewImage(name="ä" * 3, tags=frozenset({"tt"}), properties={"keys": "ü" * 4}))
    with pytest.raises(LimitExceeded, match="21 bytes together; 20 are"):
        limits.check_new_image(NewImage(name="ä" * 3, tags=frozenset({"ttt"}), properties={"keys": "ü" * 4}))
    with pytest.raises(LimitExceeded, match="together"):
        Limits().check_new_image(NewImage(properties={str(number): "v" * 65535 for number in range(3)}))


def test_too_many_tags_or_properties_exceed_a_limit() -> None:
    with pytest.raises(LimitExceeded, match="129 tags"):
        Limits().check_new_image(NewImage(tags=frozenset(str(number) for number in range(129))))
    with pytest.raises(LimitExceeded, match="3 properties"):
        Limits(properties=2).check_new_image(NewImage(properties={"a": "", "b": "", "c": ""}))


def test_a_property_that_names_an_image_is_an_id_or_none() -> None:
    image_id = "6e0acd3c-0001-4fff-8fff-0123456789ab"
    assert new_image({"kernel_id": image_id, "ramdisk_id": None}).properties == {"kernel_id": image_id}
    for value in ("", "vmlinuz", image_id + "0", 7, [image_id]):
        with pytest.raises(Invalid, match="ramdisk_id"):
            new_image({"ramdisk_id": value})
    with pytest.raises(Invalid, match="'architecture' must be a string"):
        new_image({"architecture": None})
