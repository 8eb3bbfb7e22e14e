"""The document at `/openapi.json`: it has what is served, all of it, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from httpapi.error_table import DOCUMENTED
from httpapi.handlers.probes import ProbeHandlers
from httpapi.handlers.schemas import words_of
from httpapi.health import Health
from httpapi.metrics.scrape import Scrape
from httpapi.openapi.document import OPERATIONS, document, path_of
from httpapi.routes import tables
from httpapi.wire.errors import Unauthenticated
from tests.kit.json_schema import faults
from tests.kit.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.model.caller import Caller
    from catalog.usecases.services import Services
    from httpapi.identity.contract import Arrival
    from httpapi.routes import RouteTables

README = (Path(__file__).parents[2] / "httpapi" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def routes(services: Services) -> RouteTables:
    return tables(services, body_timeout=1.0)


@pytest.fixture
def described(routes: RouteTables, services: Services) -> dict[str, Any]:
    # As it travels: what is no JSON would fail here.
    found: dict[str, Any] = json.loads(json.dumps(document(routes, words_of(services.limits))))
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in described["paths"].items():
        yield from ((path, verb.upper(), each) for verb, each in verbs.items() if verb != "parameters")


def answers(described: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, answer in operation["responses"].items():
        name = answer.get("$ref", "").removeprefix("#/components/responses/")
        yield int(status), described["components"]["responses"][name] if name else answer


def named(answer: dict[str, Any]) -> list[str]:
    header = answer["headers"].get("x-drystone-error")
    return [] if header is None else header["schema"]["enum"]


def test_every_route_and_verb_is_described_and_nothing_else(routes: RouteTables, described: dict[str, Any]) -> None:
    served = {
        (path_of(path), verb)
        for table in (routes.open, routes.identified)
        for path, verbs in table.items()
        for verb in verbs
    }
    assert {(path, verb) for path, verb, _ in operations(described)} == served
    # What is written and not served would never be read again.
    assert {(path, verb) for path, verbs in OPERATIONS.items() for verb in verbs} <= served


def test_a_route_that_is_switched_off_is_not_described(services: Services) -> None:
    probes = ProbeHandlers(Health(services), Scrape(services), metrics="off")
    routes = tables(services, body_timeout=1.0, probes=probes)
    assert "/metrics" not in document(routes, words_of(services.limits))["paths"]


def test_every_documented_error_stands_at_a_route_with_its_status(described: dict[str, Any]) -> None:
    found = {
        (code, status)
        for _, _, operation in operations(described)
        for status, answer in answers(described, operation)
        for code in named(answer)
    }
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| (\d{3}|4xx|–) \|", README, re.MULTILINE)
    told = {(code, status) for codes, status in rows for code in re.findall(r"`([a-z-]+)`", codes) if status != "–"}
    assert len(told) > 40
    # aiohttp's own refusals may have any status of 4xx; the usual one stands for them.
    assert found == {(code, DOCUMENTED[code] if status == "4xx" else int(status)) for code, status in told}


def test_an_error_of_an_identity_stands_where_a_caller_must_be_known(described: dict[str, Any]) -> None:
    statuses = {(path, verb): set(operation["responses"]) for path, verb, operation in operations(described)}
    assert "401" in statuses["/v2/images", "GET"]
    assert "401" not in statuses["/versions", "GET"]


def test_every_reference_leads_somewhere_and_every_schema_is_used(described: dict[str, Any]) -> None:
    text = json.dumps(described)
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert used == set(described["components"]["schemas"])
    assert set(re.findall(r'"#/components/responses/([\w.-]+)"', text)) == set(described["components"]["responses"])


def test_operations_have_names_of_their_own_and_parameters_for_their_paths(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))
    for path, verbs in described["paths"].items():
        told = [each["name"] for each in verbs.get("parameters", [])]
        assert told == re.findall(r"\{(\w+)\}", path)
    for _, _, operation in operations(described):
        for _, answer in answers(described, operation):
            assert {link["operationId"] for link in answer.get("links", {}).values()} <= set(names)


def test_it_is_there_for_whoever_is_let_in_and_names_the_address_that_was_asked(services: Services) -> None:
    class Nobody:
        describe, reaches_beyond_loopback, takes_passwords = "nobody", True, True

        def admit(self, arrival: Arrival) -> None:
            pass

        async def identify(self, arrival: Arrival) -> Caller:
            raise Unauthenticated("Who are you?", challenge="Basic")

    with RunningServer(services, identity=Nobody()) as server:
        assert server.call("GET", "/v2/images").status == 401
        answer = server.call("GET", "/openapi.json")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json["servers"] == [{"url": f"http://127.0.0.1:{server.port}"}]
        assert answer.json["openapi"].startswith("3.1")
        head = server.call("HEAD", "/openapi.json")
        assert (head.status, head.body) == (200, b"")


def test_an_image_and_a_list_are_as_their_schemas_say(server: RunningServer, described: dict[str, Any]) -> None:
    parent = server.new_image(name="parent")
    child = server.call("GET", f"/v2/images/{server.new_image(parent_image_ref=parent, os_distro='debian', other='x')}")
    schema = described["components"]["schemas"]["Image"]
    assert faults(schema, child.json) == []
    assert {"parent_image_ref", "os_distro"} == set(schema["properties"]) & set(child.json) - set(schema["required"])
