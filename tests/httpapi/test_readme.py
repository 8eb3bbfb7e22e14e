"""The room's page names every setting, every error and every route: nobody learns of one from the source alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blockstore.errors import BlockstoreError
from catalog.limits import Limits
from catalog.model.caller import Caller
from catalog.model.errors import CatalogError
from catalog.usecases.services import Services
from httpapi import routes
from httpapi.error_table import STATUS_OF, status_of
from httpapi.settings import SETTING_NAMES, load
from httpapi.wire.errors import RangeUnsatisfiable, WireError
from tests.kit.memory_blocks import MemoryBlocks

ROOM = Path(__file__).parents[2] / "httpapi"
PAGE = (ROOM / "README.md").read_text()


def tree(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(each for child in root.__subclasses__() for each in tree(child))]


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_every_setting_is_in_the_page_with_its_default(name: str) -> None:
    [default] = re.findall(rf"^\| `{name}` \| `([^`]+)` \| \S", section("Settings"), re.MULTILINE)
    given = {} if default == "unset" else {f"DRYSTONE_{name.upper()}": default}
    assert getattr(load(environment=given), name) == getattr(load(environment={}), name)
    assert (default == "unset") == (getattr(load(environment={}), name) in (None, ()))


def test_every_error_of_the_three_trees_is_in_the_page_with_its_status() -> None:
    rows = re.findall(r"^\| (`.*`) \| (\d+|–) \|", section("Errors"), re.MULTILINE)
    documented = {code.strip("` "): status for codes, status in rows for code in codes.split(",")}
    for root in (CatalogError, BlockstoreError, WireError):
        for kind in tree(root):
            code = kind.code  # type: ignore[attr-defined]  # each of the three trees has one
            shown = documented[code]
            error = RangeUnsatisfiable("", size=0) if kind is RangeUnsatisfiable else kind("")
            assert shown == "–" or int(shown) == status_of(error), code


def test_every_code_that_the_server_makes_up_itself_is_in_the_page() -> None:
    for source in ROOM.glob("*.py"):
        for code in re.findall(r'error_response\([^)]*"([a-z-]+)"', source.read_text(), re.DOTALL):
            assert f"`{code}`" in section("Errors"), (source, code)


def test_every_line_of_the_error_table_is_an_error_of_its_own() -> None:
    assert set(STATUS_OF) <= {*tree(CatalogError), *tree(BlockstoreError), *tree(WireError)}


def test_every_route_is_in_the_page() -> None:
    services = Services(database=None, blocks=MemoryBlocks(), limits=Limits())  # type: ignore[arg-type]  # never asked
    tables = routes.tables(services, body_timeout=1)
    for path in (*tables.open, *tables.identified):
        assert path.replace(routes.V2, "/v2").replace("image_id", "id") in section("Routes"), path


def test_a_caller_of_identity_none_is_who_the_page_says() -> None:
    settings = load(environment={})
    caller = Caller(settings.identity_user, settings.identity_project, settings.identity_roles)
    assert caller.is_admin
