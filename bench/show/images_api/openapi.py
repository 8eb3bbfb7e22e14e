"""schemathesis on the document at `/openapi.json`, against a real server: no 5xx, no hang, no memory that is kept."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from bench.places import ROOT
from bench.show.registry import Figure, Room, at_least, at_most, check, holds, told
from bench.show.server import Memory, Server, environment

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_PROGRAM: Final = ROOT / ".openapi" / "bin" / "schemathesis"
_SECONDS: Final = 600.0
_SHORT_SECONDS: Final = 120.0
# Minute two of ten: by then every route was asked, and what is made once is there. A short run takes a minute to that.
_FIRST_READING: Final = 0.2
_SHORT_FIRST_READING: Final = 0.5
# So long nobody asks before a reading: what a burst leaves behind goes back after two quiet seconds.
_REST: Final = 6.0
_MOST: Final = 1.1
_HANG: Final = 30.0
_ANSWERED: Final = re.compile(r"\] ([A-Z]+) (\S+) (\d{3}) ")
_NOT_DONE: Final = "501"


@check("images-api", "openapi", "schemathesis on /openapi.json: no 5xx, no hang, no memory that is kept.")
def openapi(room: Room) -> Generator[Figure, None, None]:
    seconds = _SHORT_SECONDS if room.short else _SECONDS
    if not _PROGRAM.exists():
        yield holds("schemathesis is there: make .stamps/openapi", ok=False)
        return
    with Server(room.work / "data") as server, Memory(server.pid) as memory:
        images = _some_images(server)
        share = _SHORT_FIRST_READING if room.short else _FIRST_READING
        runs, taken = [], []
        for part in (share, 1 - share):
            runs.append(_asked(server, room.work, images, seconds * part))
            time.sleep(_REST)
            taken.append(statistics.median(memory.samples[-10:]))
        yield holds("the server is ready afterwards", _call(server, "GET", "/ready")["ready"] is True)
        statuses, routes = _answers(server.log)
    failures, errors = (sum(len(report[what]) for report, _ in runs) for what in ("failures", "errors"))
    told_so = tuple(line for _, said in runs for line in said.splitlines()[-60:] if line.strip())
    detail = told_so if failures or errors else ()
    yield at_least(f"requests in {seconds:.0f} s", sum(statuses.values()), 10 * seconds, "")
    yield told("routes and verbs that were reached", str(len(routes)))
    yield told("answers", ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))[:60])
    failed = {status: count for status, count in statuses.items() if status >= "500" and status != _NOT_DONE}
    yield at_most("answers of 500 and more in its log", sum(failed.values()), 0, "")
    yield at_most("answers that the document does not have, or none", failures, 0, "", detail)
    yield holds("schemathesis came to its end", not errors, detail)
    first, last = taken
    what = f"its memory at the end, of that after {seconds * share:.0f} s"
    yield at_most(what, last / first, _MOST, "", (f"{first / 1e6:.1f} MB, then {last / 1e6:.1f} MB",))


def _some_images(server: Server) -> list[str]:
    """Images that stay, for what is deleted is soon all that is known: three with data, one a child, three queued."""
    images: list[str] = []
    for number in range(6):
        attributes: dict[str, object] = {
            "name": f"image-{number}", "disk_format": "raw", "container_format": "bare", "protected": True,
        }  # fmt: skip
        if number == 1:
            attributes["parent_image_ref"] = images[0]
        images.append(_call(server, "POST", "/v2/images", json.dumps(attributes).encode())["id"])
        if number < 3:
            _call(server, "PUT", f"/v2/images/{images[-1]}/file", b"%d" % number * (1 << 20))
    return images


def _call(server: Server, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{server.url}{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=_HANG) as answer:
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
        return found


def _asked(server: Server, work: Path, images: list[str], seconds: float) -> tuple[dict[str, Any], str]:
    """What it reports, and what it says."""
    report = work / "report.json"
    command: list[str | Path] = [
        _PROGRAM, "--no-color", "--config-file", ROOT / "bench" / "schemathesis.toml", "run",
        f"{server.url}/openapi.json", "--max-time", f"{seconds:.0f}", "--request-timeout", f"{_HANG:.0f}",
        # They are about the making of requests, which takes long on a busy machine, not about what answers them.
        "--suppress-health-check", "all",
        "--no-shrink", "--continue-on-failure", "--report", "json",
        "--report-json-path", report,
    ]  # fmt: skip
    variables = {
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(ROOT / "bench"),
        "DRYSTONE_BENCH_IMAGES": ",".join(images),
    }
    done = subprocess.run(
        command, cwd=work, env=environment(variables), capture_output=True, text=True, check=False, timeout=seconds * 3
    )
    if not report.exists():
        raise RuntimeError(f"schemathesis reported nothing:\n{done.stdout}\n{done.stderr}")
    found: dict[str, Any] = json.loads(report.read_text())
    return found, done.stdout


def _answers(log: Path) -> tuple[Counter[str], set[tuple[str, str]]]:
    """How often the server's own log has each status, and which routes got beyond their ids."""
    found = _ANSWERED.findall(log.read_text(errors="replace"))
    routes = {(verb, re.sub(r"[0-9a-f-]{32,}", "ID", path)) for verb, path, status in found if status < "400"}
    return Counter(status for _, _, status in found), routes
