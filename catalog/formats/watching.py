"""The two ways to answer an inspection: a stream that goes by, and an image that is stored.

A stream is watched as long as there are questions: a raw disk's for its first 64 KiB. From then on it is passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from catalog.formats.questions import LONGEST_TAIL, Finding, Judges, Span, Tail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from catalog.block_ports import Reader
    from catalog.formats.questions import Inspection, Question
    from catalog.ports import Source

    Reading = Callable[[memoryview], Coroutine[Any, Any, int]]


class Loading(Protocol):
    """Runs a step on threads that may be busy for a while: `Blocks.compute`."""

    def __call__(self, step: Callable[[], None], /) -> Awaitable[None]:
        """Wait for the step."""
        ...


def load_judges() -> None:
    """Have oslo.utils imported: half a second, once a process."""
    import catalog.formats.judges  # noqa: F401


class _Answering:
    """An inspection at its present question; `finding` once there are no more."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection
        self.finding: Finding | None = None
        self.question: Question | None = next(inspection)

    def answer(self, data: bytes) -> None:
        """The bytes that were asked for; where the image has none, zeros follow."""
        length = 0 if isinstance(self.question, Judges | None) else self.question.length
        try:
            self.question = self._inspection.send(data.ljust(length, b"\0"))
        except StopIteration as found:
            self.question, self.finding = None, found.value


class Watched:
    """A source whose bytes are inspected on their way; `judge` is told what they are, and may refuse them.

    It may do so as soon as that is certain: for most formats with the first bytes. `finding` stays, from then on.
    """

    def __init__(
        self, source: Source, inspection: Inspection, judge: Callable[[Finding], None], loading: Loading
    ) -> None:
        self._source = source
        self._asking = _Answering(inspection)
        self._judge = judge
        self._loading = loading
        self._seen = 0
        self._wanted = bytearray()
        self._tail = b""
        self.read_into: Reading = self._watch
        """As the source; see `catalog.ports.Source`. It is the source's own once nothing is asked any more."""

    @property
    def finding(self) -> Finding | None:
        """What it is; known at the end of the stream, at the latest."""
        return self._asking.finding

    async def _watch(self, room: memoryview) -> int:
        got = await self._source.read_into(room)
        await self._look(room[:got])
        return got

    async def _look(self, data: memoryview) -> None:
        begins, self._seen = self._seen, self._seen + len(data)
        self._tail = (self._tail + bytes(data[-LONGEST_TAIL:]))[-LONGEST_TAIL:]
        while (question := self._asking.question) is not None:
            if isinstance(question, Judges):
                await self._loading(load_judges)
                self._asking.answer(b"")
            elif not data:
                self._answer(self._tail[-question.length :] if isinstance(question, Tail) else bytes(self._wanted))
            elif isinstance(question, Tail) or not self._collect(question, data, begins):
                return
        assert self._asking.finding is not None, "there are no more questions"
        self.read_into = self._source.read_into
        self._judge(self._asking.finding)

    def _collect(self, question: Span, data: memoryview, begins: int) -> bool:
        """Take what is wanted of this piece; whether that was the last of it, or it has gone by."""
        start, stop = question.start + len(self._wanted), question.start + question.length
        if begins <= start < self._seen:
            self._wanted += data[start - begins : stop - begins]
        if self._seen < stop and start >= begins:
            return False
        self._answer(bytes(self._wanted))
        return True

    def _answer(self, data: bytes) -> None:
        self._wanted = bytearray()
        self._asking.answer(data)


async def inspected(reader: Reader, inspection: Inspection, loading: Loading) -> Finding:
    """What an image is that is open for reading; only what is asked for is read."""
    asking = _Answering(inspection)
    while (question := asking.question) is not None:
        if isinstance(question, Judges):
            await loading(load_judges)
            asking.answer(b"")
        else:
            start = max(0, reader.size - question.length) if isinstance(question, Tail) else question.start
            asking.answer(await _read(reader, min(start, reader.size), min(start + question.length, reader.size)))
    assert asking.finding is not None
    return asking.finding


async def _read(reader: Reader, start: int, stop: int) -> bytes:
    if start == stop:
        return b""
    return b"".join([bytes(piece) async for piece in reader.read(start, stop)])
