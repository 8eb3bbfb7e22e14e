from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.running_server import RunningServer


def test_the_ways_of_import_are_told_in_the_references_form(server: RunningServer) -> None:
    told = server.call("GET", "/v2/info/import").json["import-methods"]
    assert (told["type"], told["value"]) == ("array", ["glance-direct", "web-download"])
    assert set(told) == {"description", "type", "value"}


def test_stores_are_not_told_apart(server: RunningServer) -> None:
    for path in ("/v2/info/stores", "/v2/info/stores/detail"):
        answer = server.call("GET", path)
        assert (answer.status, answer.code) == (404, "not-found")


def test_where_projects_have_no_limits_there_is_no_usage(server: RunningServer) -> None:
    assert server.call("GET", "/v2/info/usage").json == {"usage": {}}


def test_info_takes_no_body_and_no_other_verb(server: RunningServer) -> None:
    for what in ("import", "stores", "stores/detail", "usage"):
        assert server.call("GET", f"/v2/info/{what}", b"{}").status == 400
        assert server.call("PUT", f"/v2/info/{what}", b"").headers["Allow"] == "GET"
    assert server.call("GET", "/v2/info").status == 404
