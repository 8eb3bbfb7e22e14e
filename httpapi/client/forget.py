"""Forgetting: the versions of one name, what a policy keeps of them, and the deletion of the others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from httpapi.client.errors import ApiError, ClientError, LoginNeeded, NoSuchName, NotAnImageService, NotFound, may_pass
from httpapi.client.names import name_filter
from httpapi.client.retention import reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.client.retention import Policy
    from httpapi.wire.images import ImageRecord

PROTECTED: Final = "protected"
"""The reason of images that may not be deleted; the policy counts them like any other."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An image, when it was made (in the zone of this machine), and what keeps it; nothing: it goes."""

    image: ImageRecord
    made: datetime
    reasons: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether it is kept."""
        return bool(self.reasons)


@dataclass(slots=True)
class Outcome:
    """What became of the images that were to go: ids, and of those that stay the error's sentence.

    `gone` had been deleted by somebody else meanwhile; `untried` were not asked for after an error that all would meet.
    """

    deleted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether none of them is there any more."""
        return not (self.failed or self.untried)


async def find_versions(api: ImagesApi, name: str, project: str | None) -> list[ImageRecord]:
    """All images of that name that are the caller's own, hidden ones too, newest first. Raises NoSuchName.

    `project` is the caller's; without it, images of one name in several projects are refused: they may be others'.
    """
    named = [
        image
        for hidden in ("false", "true")
        async for image in api.list_images([("os_hidden", hidden), name_filter(name)])
        if image.name == name
    ]
    own = [image for image in named if project in {None, image.owner}]
    if not own:
        raise NoSuchName(name)
    if len({image.owner for image in own}) > 1:
        raise ClientError(f"several projects have images called {name!r}: say with DRYSTONE_PROJECT which is yours")
    # Stable: within one second the server's own order stays.
    return sorted(own, key=lambda image: image.created_at, reverse=True)


def judge(images: Sequence[ImageRecord], policy: Policy, now: datetime) -> list[Verdict]:
    """What the policy says of these images, given newest first, in the same order.

    Images of other formats are versions of something else, as they are to `push`: the policy holds for each kind.
    What is not active is no version (yet), counts for nothing and stays.
    """
    kinds: defaultdict[tuple[str | None, str | None], list[ImageRecord]] = defaultdict(list)
    for image in images:
        if image.status == "active":
            kinds[image.disk_format, image.container_format].append(image)
    kept: dict[str, tuple[str, ...]] = {}
    for versions in kinds.values():
        why = reasons(policy, [made_at(image) for image in versions], now)
        kept |= {image.id: each for image, each in zip(versions, why, strict=True)}
    return [Verdict(image, made_at(image), (*_spared(image), *kept.get(image.id, ()))) for image in images]


def made_at(image: ImageRecord) -> datetime:
    """When an image was made, by the clock on the wall here."""
    try:
        moment = datetime.fromisoformat(image.created_at)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError):
        raise NotAnImageService(
            f"image {image.id} was made at {image.created_at[:40]!r}, which is no time: check --endpoint"
        ) from None


async def forget(api: ImagesApi, going: Sequence[ImageRecord], outcome: Outcome, tell: Callable[[str], None]) -> None:
    """Delete these images, one after another, and write down what becomes of each; `tell` hears of each deleted one.

    One that is refused does not keep the others; where all would be refused, the rest is not tried.
    """
    ids = iter([image.id for image in going])
    for image_id in ids:
        try:
            await api.delete_image(image_id)
        except NotFound:
            outcome.gone.append(image_id)
        except ClientError as failure:
            outcome.failed[image_id] = str(failure)
            if _would_meet_all(failure):
                outcome.untried += ids
        else:
            outcome.deleted.append(image_id)
            tell(image_id)


def _spared(image: ImageRecord) -> Iterator[str]:
    if image.protected:
        yield PROTECTED
    if image.status != "active":
        yield image.status


def _would_meet_all(failure: ClientError) -> bool:
    return not isinstance(failure, ApiError) or isinstance(failure, LoginNeeded) or may_pass(failure)
