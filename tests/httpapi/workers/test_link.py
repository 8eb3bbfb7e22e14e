"""A worker's first orders, read from a real pair of sockets."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from httpapi.settings import load
from httpapi.workers import link
from httpapi.workers.shares import to_document

if TYPE_CHECKING:
    from pathlib import Path


def test_a_stop_that_comes_in_one_piece_with_the_first_order_dismisses_the_worker(tmp_path: Path) -> None:
    settings = to_document(load(flags={"data": tmp_path}, environment={}))
    first = {link.SETTINGS: settings, link.NUMBER: 1, link.OF: 2, link.DIRECTORY: str(tmp_path)}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(json.dumps(first).encode() + b"\n" + json.dumps({link.STOP: True}).encode() + b"\n")
        with pytest.raises(link.Dismissed):
            link.Link.open(theirs)
