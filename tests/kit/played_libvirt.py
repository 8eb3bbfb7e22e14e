"""A `virsh` that plays one domain with one disk: what it is told is kept in a file, what it answers in others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Its words are virsh's: COMMAND ARGUMENT…, after options.
_PROGRAM = """#!{python} -ISE
import pathlib, sys, time
room = pathlib.Path({room!r})
words = [each for each in sys.argv[1:] if not each.startswith("--connect=") and each != "--quiet"]
with open(room / "said", "a") as said:
    said.write(" ".join(word for word in words if not word.startswith("/")) + "\\n")
command, names = words[0], [each for each in (room / "checkpoints").read_text().split()]
def refuse(why):
    sys.exit("error: it failed\\nerror: " + why)
if (room / ("hang-" + command)).exists():
    time.sleep(60)
if (room / ("refuse-" + command)).exists():
    refuse((room / ("refuse-" + command)).read_text())
if command == "dumpxml":
    print((room / "domain.xml").read_text())
elif command == "domstate":
    print((room / "state").read_text())
elif command == "domblkinfo":
    print("Capacity:       65536\\nAllocation:     0")
elif command == "backup-dumpxml":
    if not (room / "job").exists():
        refuse((room / "no-job").read_text())
    print((room / "job").read_text())
elif command == "domjobinfo":
    print("Job type:         " + ("Unbounded" if (room / "job").exists() else "None"))
elif command == "list":
    print((room / ("domains" + words[-1])).read_text())
elif command == "define":
    (room / "defined.xml").write_text(pathlib.Path(words[1]).read_text())
elif command == "checkpoint-list":
    print("\\n".join(names))
elif command == "checkpoint-dumpxml":
    then = (room / "then.xml").read_text()
    print("<domaincheckpoint><disks><disk name='disk' checkpoint='bitmap'/></disks>" + then + "</domaincheckpoint>")
elif command == "backup-begin":
    text = pathlib.Path(words[2]).read_text()
    if "incremental=" in text and (room / "broken").exists():
        refuse("checkpoint inconsistent: missing or broken bitmap")
    (room / "job").write_text(text)
    if len(words) > 3:
        name = pathlib.Path(words[3]).read_text().split("<name>")[1].split("<")[0]
        (room / "then.xml").write_text((room / "domain.xml").read_text())
        (room / "checkpoints").write_text(" ".join([*names, name]))
elif command == "domjobabort":
    (room / "job").unlink()
elif command == "checkpoint-delete":
    if (room / "broken").exists() and "--metadata" not in words:
        refuse("bitmap not found in backing chain")
    (room / "checkpoints").write_text(" ".join(each for each in names if each != words[2]))
elif command == "domfsfreeze":
    print("Froze 2 filesystem(s)")
elif command != "domfsthaw":
    refuse("no such command")
"""


class PlayedLibvirt:
    """`room` gets the program's files, `path` is the directory with `virsh`; the domain is called web, its disk disk.

    `broken`: the bitmaps of its checkpoints are lost, and backups since one are refused.
    """

    def __init__(self, room: Path) -> None:
        self.room, self.path = room, room / "programs"
        self.path.mkdir(parents=True)
        program = self.path / "virsh"
        program.write_text(_PROGRAM.format(python=sys.executable, room=str(room)))
        program.chmod(0o755)
        (room / "checkpoints").touch()
        (room / "then.xml").touch()
        (room / "no-job").write_text("Domain backup job id not found: no domain backup job present")
        (room / "state").write_text("running\n")
        (room / "domains--name").write_text("web\n\n")
        (room / "domains--uuid").write_text("4dea22b3-1d52-d8f3-2516-782e98ab3fa0\n\n")
        (room / "disk.qcow2").touch()
        (room / "domain.xml").write_text(
            "<domain type='qemu'><name>web</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><devices>"
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{room}/disk.qcow2'/><target dev='disk'/></disk></devices></domain>"
        )

    @property
    def checkpoints(self) -> list[str]:
        return (self.room / "checkpoints").read_text().split()

    def taken(self) -> list[str]:
        """What was said to virsh since the last time, without what only asks."""
        said = (self.room / "said").read_text().splitlines()
        (self.room / "said").write_text("")
        asking = (
            "dumpxml",
            "domstate",
            "domblkinfo",
            "backup-dumpxml",
            "checkpoint-list",
            "checkpoint-dumpxml",
            "list",
            "domjobinfo",
        )
        return [line for line in said if line.split()[0] not in asking]

    def put(self, name: str, text: str = "") -> None:
        (self.room / name).write_text(text)

    def mend(self, name: str) -> None:
        (self.room / name).unlink()
