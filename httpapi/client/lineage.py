"""Lineage at the client's end: all images that the caller sees, in their lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from httpapi.client.answers import following
from httpapi.client.errors import NotAnImageService
from httpapi.client.record import is_image_id
from httpapi.client.tasks import read_task
from httpapi.wire.lineage import LineageRecord, parse_lineage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from httpapi.client.api import ImagesApi
    from httpapi.wire.tasks import TaskRecord

_PAGE: Final = 1000
_IDS: Final = 50
"""Ids in one question: a path has its limits."""
_ROUNDS: Final = [[("visibility", "all"), ("os_hidden", hidden)] for hidden in ("false", "true")]


@dataclass(frozen=True, slots=True)
class Branch:
    """An image and those that came from it, the oldest first.

    `record` is None for a parent that was deleted or that the caller may not see: of it only the id is known.
    """

    id: str
    record: LineageRecord | None
    children: list[Branch]

    def walk(self) -> Iterator[Branch]:
        """All branches in it, each before those that came from it; a line may be longer than a recursion."""
        to_come = [self]
        while to_come:
            here = to_come.pop()
            yield here
            to_come += reversed(here.children)

    def records(self) -> Iterator[LineageRecord]:
        """All that is known in it, each parent before its children."""
        return (branch.record for branch in self.walk() if branch.record is not None)

    def has(self, image_id: str) -> bool:
        """Whether the image is in it."""
        return any(branch.id == image_id for branch in self.walk())


async def coalesce_image(api: ImagesApi, image_id: str) -> TaskRecord:
    """Ask for a whole manifest of an image; the task that makes it."""
    return read_task(await api.ask("POST", f"/images/{quote(image_id, safe='')}/actions/coalesce"))


async def list_lineage(api: ImagesApi, query: Sequence[tuple[str, str]] = ()) -> AsyncIterator[LineageRecord]:
    """All images that match `query` (the filters of a list of images), newest first, page after page."""
    text = urlencode([*query, ("limit", str(_PAGE))])
    while text:
        page = await api.ask("GET", f"/lineage?{text}")
        if not isinstance(page, dict) or not isinstance(page.get("lineage"), list):
            raise NotAnImageService("the answer is no list of lineage: check --endpoint")
        for record in page["lineage"]:
            yield _read(record)
        text = following(page.get("next"), text)


async def lines(api: ImagesApi, *, everything: bool) -> list[Branch]:
    """The trees of the images that a list would show, the newest root first, with all ancestors that the caller sees.

    With `everything` hidden and other projects' community images too.
    """
    known: dict[str, LineageRecord] = {}
    for query in _ROUNDS if everything else [[]]:
        known |= {record.id: record async for record in list_lineage(api, query)}
    asked: set[str] = set()
    while missing := {each.parent.id for each in known.values() if each.parent and each.parent.visible} - known.keys():
        # One that went away in between is asked for once.
        if not (missing := missing - asked):
            break
        asked |= missing
        known |= {record.id: record async for record in _by_ids(api, sorted(missing))}
    return grown(known)


def grown(known: Mapping[str, LineageRecord]) -> list[Branch]:
    """The trees of these images, given newest first; parents that are not among them are roots without a record."""
    children: dict[str, list[LineageRecord]] = {}
    roots: dict[str, None] = {}
    # Stable: within one second the server's own order stays.
    ordered = sorted(known.values(), key=lambda each: each.created_at, reverse=True)[::-1]
    for record in ordered:
        if record.parent is None:
            roots[record.id] = None
            continue
        children.setdefault(record.parent.id, []).append(record)
        if record.parent.id not in known:
            roots[record.parent.id] = None
    seen: set[str] = set()
    trees = [_tree(root, known, children, seen) for root in roots]
    # What Nova's property says is not checked by anybody, so a line may bite its tail.
    trees += [_tree(record.id, known, children, seen) for record in ordered if record.id not in seen]
    return trees[::-1]


def _tree(
    root: str, known: Mapping[str, LineageRecord], children: Mapping[str, Sequence[LineageRecord]], seen: set[str]
) -> Branch:
    seen.add(root)
    tree = Branch(root, known.get(root), [])
    for here in tree.walk():
        for record in children.get(here.id, ()):
            if record.id not in seen:
                seen.add(record.id)
                here.children.append(Branch(record.id, record, []))
    return tree


async def _by_ids(api: ImagesApi, ids: Sequence[str]) -> AsyncIterator[LineageRecord]:
    for first in range(0, len(ids), _IDS):
        wanted = ("id", "in:" + ",".join(ids[first : first + _IDS]))
        for query in _ROUNDS:
            async for record in list_lineage(api, [*query, wanted]):
                yield record


def _read(document: object) -> LineageRecord:
    if not isinstance(document, dict):
        raise NotAnImageService("the answer is no list of lineage: check --endpoint")
    try:
        record = parse_lineage(document)
    except KeyError as missing:
        raise NotAnImageService(f"the answer is no lineage, it lacks {missing}: check --endpoint") from None
    if not all(map(is_image_id, _ids(record))):
        raise NotAnImageService("the answer is no lineage (an id is no UUID): check --endpoint")
    return record


def _ids(record: LineageRecord) -> Iterable[str]:
    return (record.id,) if record.parent is None else (record.id, record.parent.id)
