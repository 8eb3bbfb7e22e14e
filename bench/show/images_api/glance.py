"""The script of `tests/clients/glance`, answered by this service and by the real Glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.show.registry import Figure, Room, at_least, at_most, check, told
from tests.clients.glance import golden
from tests.clients.glance.compare import found, report
from tests.clients.glance.differences import allowed, reasons
from tests.clients.glance.play import clear, play
from tests.clients.glance.record import PYTHON, glance
from tests.clients.glance.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Generator


@check("images-api", "glance", "A script of requests is answered as by the real Glance, but for what is listed.")
def beside_glance(room: Room) -> Generator[Figure, None, None]:
    yield at_least("requests in the script", sum(map(len, SCENES.values())), 400, "")
    faults = [line for scene in SCENES for line in report(scene, found(scene, room.work / scene))]
    yield at_most("differences that are not listed, or listed and not there", len(faults), 0, "", tuple(faults[:20]))
    yield told("differences that are listed", f"{len(allowed())}, for {len(reasons())} reasons")
    if not PYTHON.exists():
        yield told("the real Glance", "as recorded; make .stamps/glance asks it again")
        return
    changed: list[str] = []
    with glance() as port:
        for scene, steps in SCENES.items():
            clear(port)
            answers = zip(golden.read(scene), play(port, steps), strict=True)
            changed += [f"{scene}: {recorded['step']}" for recorded, now in answers if recorded != now]
    yield at_most("answers of the real Glance that are not as recorded", len(changed), 0, "", tuple(changed[:20]))
