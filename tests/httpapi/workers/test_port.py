"""One port for several processes of ours and of nobody else's, on the real kernel."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from httpapi.setting_values import Listen
from httpapi.settings import SettingsRefused
from httpapi.workers.port import reserve


def worker(port: int, *, listening: bool = True) -> socket.socket:
    """A socket as a worker's loop makes it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    if listening:
        made.listen()
    return made


def test_port_0_becomes_a_free_one_that_several_can_listen_on() -> None:
    with closing(reserve(Listen("127.0.0.1", 0))) as mine:
        assert mine.listen.port
        with worker(mine.listen.port) as one, worker(mine.listen.port) as two:
            for _ in range(20):
                socket.create_connection(("127.0.0.1", mine.listen.port)).close()
            taken = 0
            for each in (one, two):
                each.settimeout(0.2)
                try:
                    while True:
                        each.accept()[0].close()
                        taken += 1
                except TimeoutError:
                    continue
            # None went to the socket that only keeps the port.
            assert taken == 20


def test_a_second_service_is_refused_whether_workers_run_or_not() -> None:
    with closing(reserve(Listen("127.0.0.1", 0))) as mine:
        with pytest.raises(SettingsRefused, match=r"already in use.*choose another address with --listen"):
            reserve(mine.listen)
        with worker(mine.listen.port), pytest.raises(SettingsRefused, match="already in use"):
            reserve(mine.listen)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", mine.listen.port))
    with closing(reserve(mine.listen)) as again:
        assert again.listen == mine.listen


@pytest.mark.parametrize("sharing", [False, True])
def test_somebody_elses_port_is_refused_even_if_they_would_share_it(*, sharing: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=sharing) as theirs, pytest.raises(SettingsRefused):
        reserve(Listen("127.0.0.1", theirs.getsockname()[1]))


def test_old_connections_that_die_away_do_not_keep_the_port() -> None:
    with closing(reserve(Listen("127.0.0.1", 0))) as mine, worker(mine.listen.port) as server:
        client = socket.create_connection(("127.0.0.1", mine.listen.port))
        accepted, _ = server.accept()
        # Who closes first keeps the connection in TIME_WAIT.
        accepted.close()
        client.close()
    reserve(mine.listen).close()


def test_a_name_with_several_addresses_has_the_same_port_on_each() -> None:
    with closing(reserve(Listen("localhost", 0))) as mine:
        assert {each.getsockname()[1] for each in mine.sockets} == {mine.listen.port}


def test_a_name_that_is_none_is_refused_with_a_sentence() -> None:
    with pytest.raises(SettingsRefused, match="cannot be listened on"):
        reserve(Listen("no-such-host.invalid", 0))
