"""How the database goes about a list: by which statements and indexes, whatever is asked by whom."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from bench.list_questions import SORT_KEYS, every_question
from bench.many_images import FEW, LAB, MANY, SMALL, fill, images
from catalog.model.caller import Caller
from catalog.model.image import Visibility
from catalog.usecases.images import page_of
from catalog.usecases.queries import parse_query
from tests.kit.new_catalog import new_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.list_questions import Question
    from catalog.model.image import Image
    from catalog.ports import UnitOfWork
    from catalog.sql.database import SqlDatabase
    from catalog.usecases.services import Services

# Many enough that half of them are not few.
IMAGES = 2600
CALLERS = [
    Caller("admin", "cloud", frozenset({"admin"})),
    Caller("lab", LAB, frozenset({"member"})),
    Caller("small", SMALL, frozenset({"reader"})),
]
TABLES = r"images|few|image_\w+"
# A walk along an index goes through the whole of it only if it ends nowhere: the page's limit ends it.
IN_ORDER = re.compile(r"SCAN images USING INDEX (ix_images_(\w+_)?created_at_id|sqlite_autoindex_images_1)$")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlDatabase]:
    path = tmp_path_factory.mktemp("many") / "catalog.sqlite"
    new_catalog(path).close()
    fill(path, IMAGES)
    opened = new_catalog(path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def some_image() -> Image:
    return next(image for image in images(IMAGES) if (image.owner, image.visibility) == (LAB, Visibility.PUBLIC))


def questions(image: Image) -> list[Question]:
    names = (
        "id", "name", "status", "container_format", "disk_format", "owner", "checksum", "os_hash_value", "os_hash_algo",
        "parent_image_ref", "size", "virtual_size", "min_disk", "min_ram",
    )  # fmt: skip
    return list(every_question({name: str(getattr(image, name)) for name in names}))


class Statements:
    """What a database is asked while it is listened to."""

    def __init__(self, services: Services, database: SqlDatabase) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._services = services
        event.listen(database._reading, "before_cursor_execute", self._note)

    def _note(self, _connection: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
        if statement.startswith("SELECT"):
            self.asked.append((statement, parameters))

    def listed(self, uow: UnitOfWork, caller: Caller, question: Question) -> tuple[int, list[tuple[str, Any]]]:
        """How many images came, and what was asked for them."""
        self.asked.clear()
        page = page_of(self._services, uow, caller, parse_query(question))
        return len(page.images), list(self.asked)


def scans(uow: UnitOfWork, asked: list[tuple[str, Any]]) -> Iterator[str]:
    """Steps that go through a table or a whole index, or sort what was read off one."""
    connection: Any = uow.images._connection  # type: ignore[attr-defined]  # a look inside
    for statement, parameters in asked:
        steps = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        walked = [step for step in steps if IN_ORDER.match(step)]
        for step in steps:
            if re.match(rf"SCAN ({TABLES})\b", step) and step not in walked:
                yield step
            if "USING AUTOMATIC" in step:
                yield step
            if walked and "TEMP B-TREE" in step:
                yield f"{walked} and then {step}"


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.user)
def test_no_list_goes_through_all_images_whatever_is_asked_by_whom(
    services: Services, database: SqlDatabase, some_image: Image, caller: Caller
) -> None:
    statements = Statements(services, database)

    def look(uow: UnitOfWork) -> dict[Question, list[str]]:
        found = {}
        for question in questions(some_image):
            for marker in ((), (("marker", some_image.id),)):
                _, asked = statements.listed(uow, caller, (*question, *marker))
                if steps := list(scans(uow, asked)):
                    found[*question, *marker] = steps
        return found

    assert asyncio.run(database.read(look)) == {}


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.user)
@pytest.mark.parametrize("key", SORT_KEYS)
def test_a_page_begins_where_the_one_before_ends_by_the_whole_of_an_index(
    services: Services, database: SqlDatabase, some_image: Image, caller: Caller, key: str
) -> None:
    statements = Statements(services, database)

    def look(uow: UnitOfWork) -> None:
        for direction in ("asc", "desc"):
            question = ("sort", f"{key}:{direction}"), ("marker", some_image.id)
            _, asked = statements.listed(uow, caller, question)
            assert not any("SCAN images" in step for step in plans(uow, asked)), question

    asyncio.run(database.read(look))


def plans(uow: UnitOfWork, asked: list[tuple[str, Any]]) -> Iterator[str]:
    connection: Any = uow.images._connection  # type: ignore[attr-defined]  # a look inside
    for statement, parameters in asked:
        yield from (row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.user)
@pytest.mark.parametrize(
    ("question", "statements"),
    [
        ((), 2),
        ((("visibility", "all"),), 2),
        ((("sort", "size:asc"), ("visibility", "all")), 3),
        ((("os_distro", MANY), ("visibility", "all")), 3),
        ((("tag", MANY), ("tag", FEW)), 3),
    ],
)
def test_a_list_takes_as_many_statements_for_one_image_as_for_a_thousand(
    services: Services, database: SqlDatabase, caller: Caller, question: Question, statements: int
) -> None:
    listening = Statements(services, database)

    def look(uow: UnitOfWork) -> list[tuple[int, int]]:
        came = []
        for limit in (1, 25, 1000):
            images_listed, asked = listening.listed(uow, caller, (*question, ("limit", str(limit))))
            came.append((images_listed, len(asked)))
        return came

    came = asyncio.run(database.read(look))
    assert came[0][0] == 1 or ("tag", FEW) in question
    assert {count for _, count in came} <= {statements, 2}, came
