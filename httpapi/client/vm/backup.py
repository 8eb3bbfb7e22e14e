"""A backup of a running machine: all its disks as they are at one moment, each as an image over its last one.

    what a killed run left ends → what to read of each disk → the moment, with a new mark → push, disk after disk
    → the moment ends → older marks go

A mark goes only when every image of the next run is there. Until then it has all that was written since its own image,
so whatever fails, or is killed, is read again; and the new one, whose name tells the group, is of use only if that
group's image is there. When anything fails, what the run has made is taken back: images, mark, and point in time.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from blockstore.clock import monotonic
from httpapi.client.errors import ClientError, PartRefused
from httpapi.client.nbd_bitmap import dirty_extents
from httpapi.client.parents import NO_PARENT
from httpapi.client.push import take_back
from httpapi.client.push_terms import PushWish
from httpapi.client.source import PositionedSource
from httpapi.client.transfers import push_disk
from httpapi.client.vm.counted_export import CountedExport
from httpapi.client.vm.groups import MACHINE, packed, properties_of
from httpapi.client.vm.machine import MachineRefused, MarkLost
from httpapi.client.vm.plan import ASKED, Reading, load_groups, plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from httpapi.client.api import ImagesApi
    from httpapi.client.push_terms import PushResult
    from httpapi.client.report import Report
    from httpapi.client.vm.groups import Group
    from httpapi.client.vm.machine import Disk, Export, Machine, Mark


@dataclass(frozen=True, slots=True)
class BackupWish:
    """`name` is what the backups are called, `disks` which of the machine's (none: all), `whole`: as if it were first.

    `freeze` is as `Machine.begin` has it; `room` is a directory for what is kept while it runs.
    """

    name: str
    room: Path
    disks: Sequence[str] = ()
    whole: bool = False
    freeze: bool | None = None
    project: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DiskBackup:
    """One disk's image; `dirty` are the bytes that its bitmap had, None if all was to be read, for the reason `why`."""

    disk: str
    pushed: PushResult
    read: int
    dirty: int | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Backup:
    """What came of it; `frozen` says how many file systems stood still, None if none could be made to."""

    group: str
    frozen: int | None
    seconds: float
    disks: Sequence[DiskBackup]


async def back_up(api: ImagesApi, machine: Machine, wish: BackupWish, report: Report) -> Backup:
    """Makes one image a disk, all of one moment. Raises MachineRefused and whatever a push raises."""
    began = monotonic()
    await api.discover()
    if machine.tidy():
        report.note("a backup that was killed had left its point in time: it is ended")
    disks, marks = machine.disks(), machine.marks()
    chosen = _choose(disks, wish.disks)
    groups = await load_groups(api, marks)
    await _forget_killed(api, machine, groups, report)
    readings = {each.name: await plan(api, each, marks, groups, wish.name, wish.project) for each in disks}
    mine = [_whole(readings[each.name], wish) for each in chosen]
    run = _Run(api, machine, wish, report)
    done = await run.make(mine)
    needed = {readings[each.name].since for each in disks if each not in chosen}
    _forget_older(machine, marks, {run.group, *needed}, report)
    return Backup(run.group, machine.frozen, monotonic() - began, done)


class _Run:
    def __init__(self, api: ImagesApi, machine: Machine, wish: BackupWish, report: Report) -> None:
        self._api = api
        self._machine = machine
        self._wish = wish
        self._report = report
        self.group = str(uuid.uuid4())
        self._images: list[str] = []

    async def make(self, readings: Sequence[Reading]) -> list[DiskBackup]:
        """The point in time and all images; or nothing."""
        description = packed(self._machine.description())
        if description is None:
            self._report.note("what the machine is made of is too long to be kept with its backup")
        readings, exports = self._begin(readings)
        try:
            for each in readings:
                if each.why is not None:
                    self._report.note(f"{each.disk}: full read: {each.why}")
            done: list[DiskBackup] = []
            for each in readings:
                extra = {} if done or description is None else {MACHINE: description}
                done.append(await self._push(each, exports[each.disk], [one.disk for one in readings], extra))
        except BaseException as failure:
            self._give_up()
            for image in self._images:
                await take_back(self._api, image, failure, self._report)
            raise
        self._end()
        return done

    def _begin(self, readings: Sequence[Reading]) -> tuple[Sequence[Reading], Mapping[str, Export]]:
        """The readings as they came to be, and the exports."""
        since = {each.disk: each.since for each in readings}
        try:
            return readings, self._machine.begin(self.group, since, freeze=self._wish.freeze)
        except MarkLost as lost:
            why = f"what was written since the last backup is lost ({lost}): QEMU was killed or lost its power"
            whole = [each if each.since is None else replace(each, since=None, why=why) for each in readings]
            return whole, self._machine.begin(self.group, dict.fromkeys(since), freeze=self._wish.freeze)

    async def _push(
        self, reading: Reading, export: Export, disks: Sequence[str], extra: Mapping[str, str]
    ) -> DiskBackup:
        touched = None if export.bitmap is None else dirty_extents(export.uri, export.bitmap)
        image = str(uuid.uuid4()) if self._images else self.group
        self._images.append(image)
        want = {
            "id": image,
            "name": f"{self._wish.name}-{reading.disk}",
            "disk_format": "raw",
            "container_format": "bare",
            **properties_of(image, self.group, reading.disk, disks, self._wish.name),
            **extra,
            **({"tags": list(self._wish.tags)} if self._wish.tags else {}),
        }
        parent = NO_PARENT if reading.why == ASKED else None if reading.parent is None else reading.parent.id
        wish = PushWish(self._wish.room, parent, self._wish.project, touched=touched, live=True)
        why = reading.why
        try:
            pushed, read = await self._send(export, want, wish)
        except PartRefused:
            why = "the service does not take a part of a disk"
            self._report.note(f"{reading.disk}: full read: {why}")
            pushed, read = await self._send(export, want, replace(wish, touched=None))
        dirty = None if why is not None or touched is None else sum(length for _, length in touched.extents)
        return DiskBackup(reading.disk, pushed, read, dirty, why)

    async def _send(self, export: Export, want: Mapping[str, object], wish: PushWish) -> tuple[PushResult, int]:
        """The result, and how many bytes were read of the export."""
        file = CountedExport(export.uri)
        notes = _LateNotes(self._report)
        try:
            pushed = await push_disk(self._api, PositionedSource(file, live=True), want, wish, notes)
        finally:
            file.close()
        notes.pass_on()
        return pushed, file.read

    def _give_up(self) -> None:
        """On the machine's side; what fails there is told, since why all this ends is what counts."""
        for step in (self._machine.end, lambda: self._machine.forget(self.group)):
            try:
                step()
            except MachineRefused as refused:
                self._report.note(f"{refused}: the next backup clears up")

    def _end(self) -> None:
        try:
            self._machine.end()
        except MachineRefused as refused:
            self._report.note(f"{refused}: the images are whole, and the next backup clears up")


class _LateNotes:
    """Passes on notes when the push has succeeded: those of one that fails are of an image that goes again."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._notes: list[str] = []
        self.begin, self.moved, self.compared = report.begin, report.moved, report.compared
        self.tell = report.tell

    def note(self, sentence: str) -> None:
        """Kept."""
        self._notes.append(sentence)

    def pass_on(self) -> None:
        """All that were kept."""
        for each in self._notes:
            self._report.note(each)


def _choose(disks: Sequence[Disk], wanted: Sequence[str]) -> list[Disk]:
    names = [each.name for each in disks]
    if unknown := [each for each in wanted if each not in names]:
        raise MachineRefused(f"the machine has no disk {unknown[0]}, but {', '.join(names) or 'none'}")
    if not disks:
        raise MachineRefused("the machine has no disk that is written to")
    return [each for each in disks if not wanted or each.name in wanted]


def _whole(reading: Reading, wish: BackupWish) -> Reading:
    return replace(reading, since=None, why=ASKED) if wish.whole else reading


async def _forget_killed(api: ImagesApi, machine: Machine, groups: Mapping[str, Group | None], report: Report) -> None:
    """Marks of runs of which no image came to be go, and so do images that were begun and can't be gone on with."""
    for group_id, group in groups.items():
        for image in () if group is None else group.images.values():
            if image.status in {"queued", "saving"}:
                try:
                    await api.delete_image(image.id)
                except ClientError as failure:
                    report.note(f"image {image.id}, which a killed backup began, stays: {failure}")
        if group is not None and not group.active:
            machine.forget(group_id)


def _forget_older(machine: Machine, marks: Sequence[Mark], needed: set[str | None], report: Report) -> None:
    for group in dict.fromkeys(each.group for each in marks):
        if group not in needed:
            try:
                machine.forget(group)
            except MachineRefused as refused:
                report.note(f"{refused}: an older bitmap stays until the next backup")
