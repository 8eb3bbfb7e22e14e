"""Versions are forgotten, expire and are collected while others are made from them: all that is there reads right."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from blockstore import clock
from blockstore.garbage import Collecting
from blockstore.progress import Silent
from blockstore.verify import Wanted
from catalog.usecases import administration
from catalog.usecases.expiry import expire_deleted
from httpapi.client.api import ImagesApi
from httpapi.client.forget import Outcome, find_versions, forget, judge
from httpapi.client.retention import Policy
from tests.kit.filled_store import looked_after
from tests.kit.quiet_worker import until_quiet
from tests.kit.two_projects import OCTETS, two_projects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.two_projects import TwoProjects

BLOCK = 4096
FIRST = random.Random(41).randbytes(60 * BLOCK + 99)
PUSHES = 12


class Versions:
    """What each version must read as, and what became of the attempts to make one."""

    def __init__(self, served: TwoProjects) -> None:
        self.served = served
        self.made = {served.ann.put_image(FIRST, name="vm"): FIRST}
        self.refused = 0
        self.back = 0
        self._lock = threading.Lock()

    def push(self, seed: int) -> None:
        """From any version that there was, so also from one that is about to go, or has gone."""
        dice = random.Random(seed)
        for _ in range(PUSHES):
            with self._lock:
                parent, data = dice.choice([*self.made.items()][-4:])
            changed = bytearray(data)
            changed[dice.randrange(60) * BLOCK] ^= 1
            wanted = {"name": "vm", "disk_format": "raw", "container_format": "bare", "parent_image_ref": parent}
            answer = self.served.ann.call("POST", "/v2/images", json_body=wanted)
            if answer.status == 400:
                assert answer.code == "invalid"
                self.refused += 1
                continue
            image = answer.json["id"]
            put = self.served.ann.call("PUT", f"/v2/images/{image}/file", bytes(changed), OCTETS)
            assert put.status == 204, put.body
            with self._lock:
                self.made[image] = bytes(changed)

    def forget(self, done: threading.Event) -> list[str]:
        """All but the newest, again and again; now and then one is brought back, or what was deleted expires."""
        deleted: list[str] = []
        for turn in range(10_000):
            if done.is_set():
                break
            deleted += asyncio.run(self._forget())
            if turn % 3 == 1 and deleted:
                path = f"/v2/images/{deleted[-1]}/actions/undelete"
                status = self.served.ann.call("POST", path).status
                assert status in {200, 409, 410}
                self.back += status == 200
            if turn % 3 == 2:
                self.served.server.run(self._expire())
        return deleted

    async def _forget(self) -> list[str]:
        outcome = Outcome()
        async with ImagesApi(f"http://ann:ann@127.0.0.1:{self.served.server.port}") as api:
            verdicts = judge(await find_versions(api, "vm", "stone"), Policy(last=1), clock.now())
            await forget(api, [each.image for each in verdicts if not each.stays], outcome, lambda _: None)
        assert not outcome.failed, outcome
        return outcome.deleted

    async def _expire(self) -> None:
        services = self.served.server.services
        now = services.clock()
        await services.database.write(lambda uow: expire_deleted(uow, now, timedelta(0)))

    def all_read_right(self) -> int:
        listed = self.served.ann.call("GET", "/v2/images?limit=1000").json["images"]
        for image in listed:
            assert image["status"] == "active"
            assert self.served.ann.bytes_of(image["id"]) == self.made[image["id"]]
        return len(listed)


def test_what_is_made_from_versions_that_go_reads_right_or_is_refused(tmp_path: Path) -> None:
    with two_projects(tmp_path, keep_deleted=3600.0) as served:
        versions, done = Versions(served), threading.Event()
        with ThreadPoolExecutor() as pool:
            forgetting = pool.submit(versions.forget, done)
            pushing = [pool.submit(versions.push, seed) for seed in range(3)]
            try:
                for each in pushing:
                    each.result(120)
            finally:
                done.set()
            deleted = forgetting.result(60)
        assert len(versions.made) + versions.refused == 3 * PUSHES + 1
        assert len(deleted) > 5
        served.server.run(until_quiet(served.server.services))
        assert versions.all_read_right() >= 1
    with looked_after(tmp_path / "data", exclusive=True) as (store, records):
        administration.collect(store, records, Collecting(share=0), Silent(), at=clock.now(), keep_deleted=0)
    with looked_after(tmp_path / "data") as (store, records):
        found = administration.verify_all(store, records, Wanted(data=True), Silent())
        assert found.verified.clean, found.verified.findings
    with two_projects(tmp_path) as served:
        versions.served = served
        assert versions.all_read_right() >= 1
