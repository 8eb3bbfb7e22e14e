from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from catalog.model.errors import Conflict, Forbidden, Invalid
from catalog.model.image import TRANSITIONS, Contents, Image, Status, Upload, canonical_id, is_image_id
from catalog.model.location import our_location
from catalog.model.pin import UploadKind

THEN = datetime(2026, 11, 22, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
FIRST = Upload("first", UploadKind.STREAM, "p1")
SECOND = Upload("second", UploadKind.STREAM, "p1")
CONTENTS = Contents(11, "0" * 32, "sha512", "1" * 128, (our_location("5" * 32, "6" * 32),), virtual_size=12)


def queued(**attributes: object) -> Image:
    given = {"disk_format": "raw", "container_format": "bare", **attributes}
    return Image(id="an-image", owner="wall", created_at=THEN, updated_at=THEN, **given)  # type: ignore[arg-type]  # test's choice


def test_an_upload_takes_a_queued_image_through_saving_to_active() -> None:
    image = queued()
    image.begin_saving(FIRST, at=NOW)
    assert (image.status, image.upload, image.updated_at) == (Status.SAVING, FIRST, NOW)
    image.become_active("first", CONTENTS, at=NOW)
    assert (image.status, image.size, image.virtual_size, image.checksum) == (Status.ACTIVE, 11, 12, "0" * 32)
    assert image.locations == CONTENTS.locations
    assert image.upload == FIRST
    assert image.was_saved("first")
    image.deactivate(at=THEN)
    assert image.was_saved("first")


def test_an_image_is_never_changed_before_it_was_made_whatever_the_clock_says() -> None:
    image, early = queued(), THEN - timedelta(days=1)
    image.be_changed(at=early)
    assert image.updated_at == THEN
    image.begin_saving(FIRST, at=early)
    image.become_active("first", CONTENTS, at=early)
    assert image.updated_at == THEN
    image.be_hashed(checksum="0" * 32, algorithm="sha512", value="1" * 128, at=early)
    assert image.updated_at == THEN
    image.be_undeleted(shown=True, at=early)
    assert image.updated_at == THEN


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.QUEUED])
def test_an_upload_begins_only_while_the_image_is_queued(status: Status) -> None:
    with pytest.raises(Conflict, match=status.value):
        queued(status=status).begin_saving(FIRST, at=NOW)


@pytest.mark.parametrize("unset", ["disk_format", "container_format"])
def test_an_upload_needs_both_formats(unset: str) -> None:
    image = queued(**{unset: None})
    with pytest.raises(Invalid, match="Properties disk_format, container_format must be set prior to saving data"):
        image.begin_saving(FIRST, at=NOW)
    assert image.status is Status.QUEUED


def test_giving_up_leaves_the_image_as_if_nothing_had_begun() -> None:
    image = queued(size=5, virtual_size=5)
    image.begin_saving(FIRST, at=NOW)
    image.back_to_queued("first", at=NOW)
    assert (image.status, image.upload, image.size, image.virtual_size) == (Status.QUEUED, None, None, None)


def test_an_upload_that_was_given_up_cannot_touch_its_successor() -> None:
    image = queued()
    image.begin_saving(FIRST, at=NOW)
    image.back_to_queued("first", at=NOW)
    image.begin_saving(SECOND, at=NOW)
    with pytest.raises(Conflict):
        image.become_active("first", CONTENTS, at=NOW)
    with pytest.raises(Conflict):
        image.back_to_queued("first", at=NOW)
    assert image.is_taking("second")


def test_a_protected_image_is_not_deleted() -> None:
    with pytest.raises(Forbidden, match="protected"):
        queued(protected=True).be_deleted(at=NOW)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.DELETED])
def test_an_image_can_be_deleted_in_any_state(status: Status) -> None:
    image = queued(status=status)
    image.be_deleted(at=NOW)
    assert image.status is Status.DELETED


def test_every_status_says_what_may_follow_and_deleted_is_the_end() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert not TRANSITIONS[Status.DELETED]


def test_an_id_is_a_uuid_in_either_case_and_kept_in_the_lower() -> None:
    assert is_image_id("6E0ACD3c-0001-4fff-8fff-0123456789ab")
    assert canonical_id("6E0ACD3c-0001-4fff-8fff-0123456789ab") == "6e0acd3c-0001-4fff-8fff-0123456789ab"
    for other in ("", "disk", "6e0acd3c00014fff8fff0123456789ab", "6e0acd3c-0001-4fff-8fff-0123456789ab\n"):
        assert not is_image_id(other)
