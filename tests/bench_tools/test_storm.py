"""What the storm takes for the work of a kill, and what it does not."""

import errno
from urllib.error import URLError

import aiohttp
import pytest

from bench.storm.clients import alike
from bench.storm.oracle import is_explained
from httpapi.client.errors import Unreachable
from httpapi.client.transport import transport_errors

URL = "http://127.0.0.1:9292"


@pytest.mark.parametrize(
    "failure",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"),
        aiohttp.ClientOSError(errno.EPIPE, "Broken pipe"),
        aiohttp.ClientPayloadError("not all came"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
)
def test_whatever_a_killed_server_leaves_of_a_connection_is_explained(failure: Exception) -> None:
    with pytest.raises(Exception, match="connection") as told, transport_errors(URL, 30):
        raise failure
    assert is_explained(alike(f"drystone: {told.value}"))


def test_who_finds_nobody_there_or_breaks_off_while_sending_is_explained() -> None:
    assert is_explained(alike(f"drystone: {Unreachable(URL, 'Connection refused')}"))
    assert is_explained(alike(str(URLError(BrokenPipeError(errno.EPIPE, "Broken pipe")))))


@pytest.mark.parametrize(
    "said",
    [
        "drystone: image 01 is damaged: a block cannot be read",
        "HTTP Error 500: Internal Server Error",
        "drystone: the bytes differ from the image's hash",
    ],
)
def test_what_no_kill_does_is_not(said: str) -> None:
    assert not is_explained(alike(said))
