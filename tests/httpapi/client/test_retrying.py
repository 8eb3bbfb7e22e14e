from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from httpapi.client.api import ImagesApi
from httpapi.client.auth import Access, Login, TokenLogin
from httpapi.client.errors import ApiError, Conflict, Interrupted, LoginNeeded, NotFound
from httpapi.client.retrying import Retrying
from tests.kit.kept_report import KeptReport

if TYPE_CHECKING:
    from tests.kit.small_server import SmallServer

LOST = Interrupted("the connection broke")
BUSY = ApiError(503, "the server is busy", None)
REFUSED = LoginNeeded(401, "log in", None)


def tried(small: SmallServer, *failures: Exception, logins: int = 0, tries: int = 3) -> tuple[int, list[str]]:
    """How often a request was made that fails so often, in `tries` further tries, and how often it was told."""
    made = 0
    report = KeptReport()
    left = [Login("ann", str(number)) for number in range(logins)]

    async def renew(_: Access) -> Access | None:
        return Access(small.url, "a test", left.pop()) if left else None

    async def request() -> int:
        nonlocal made
        made += 1
        if made <= len(failures):
            raise failures[made - 1]
        return made

    async def connected() -> int:
        async with ImagesApi(small.url, renew=renew) as api:
            return await Retrying(api, report, [0.0] * tries)(request)

    return asyncio.run(connected()), report.notes


def test_what_passes_by_itself_is_tried_again(small: SmallServer) -> None:
    made, notes = tried(small, LOST, BUSY, ApiError(429, "slowly", None))
    assert made == 4
    assert len(notes) == 3


def test_after_the_last_try_the_error_is_told(small: SmallServer) -> None:
    with pytest.raises(Interrupted):
        tried(small, LOST, LOST, LOST, LOST)


@pytest.mark.parametrize(
    "failure",
    [
        NotFound(404, "no", None),
        Conflict(409, "no", None),
        ApiError(400, "no", None),
        ApiError(503, "a block is damaged", None, "damaged"),
        ApiError(503, "a manifest is damaged", None, "geometry-broken"),
    ],
)
def test_what_would_repeat_itself_is_not_tried_again(small: SmallServer, failure: ApiError) -> None:
    with pytest.raises(type(failure)):
        tried(small, failure)


def test_after_a_401_another_login_is_used_if_there_is_one(small: SmallServer) -> None:
    assert tried(small, REFUSED, logins=1) == (2, [])
    assert tried(small, REFUSED, REFUSED, logins=2)[0] == 3
    with pytest.raises(LoginNeeded):
        tried(small, REFUSED, REFUSED, logins=1)
    with pytest.raises(LoginNeeded):
        tried(small, REFUSED)


def test_a_login_that_was_refused_is_not_tried_again(small: SmallServer) -> None:
    asked: list[Login | TokenLogin | None] = []

    async def renew(refused: Access) -> Access | None:
        asked.append(refused.login)
        return Access(small.url, "a test", Login("ann", "kept"))

    async def request() -> None:
        raise REFUSED

    async def connected() -> None:
        access = Access(small.url, "a test", Login("ann", "old"), project="before")
        async with ImagesApi(access, renew=renew) as api:
            with pytest.raises(LoginNeeded):
                await Retrying(api, KeptReport())(request)
            await api.get_image(small.add("disk"))

    asyncio.run(connected())
    assert asked == [Login("ann", "old"), Login("ann", "kept")]
    assert "X-Project-Id" not in small.asked[-1][2]


def test_requests_that_were_refused_together_log_in_once(small: SmallServer) -> None:
    asked = 0
    known = False

    async def renew(_: Access) -> Access | None:
        nonlocal asked, known
        asked += 1
        await asyncio.sleep(0.01)
        known = True
        return Access(small.url, "a test", Login("ann", "new"))

    async def request() -> None:
        await asyncio.sleep(0)
        if not known:
            raise REFUSED

    async def connected() -> None:
        async with ImagesApi(small.url, renew=renew) as api:
            retrying = Retrying(api, KeptReport())
            await asyncio.gather(*(retrying(request) for _ in range(5)))
            await api.get_image(small.add("disk"))

    asyncio.run(connected())
    assert asked == 1
    assert small.asked[-1][2]["Authorization"].startswith("Basic ")
