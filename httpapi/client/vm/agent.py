"""The guest agent of QEMU's, asked by its socket: what freezing needs of it.

It has no greeting, and what an earlier caller did not wait for may still come: a number is asked back first
(`guest-sync`, see qemu/docs/interop/qemu-ga-ref).
"""

from __future__ import annotations

import json
import secrets
import shlex
from typing import Any, Final

from httpapi.client.vm.machine import MachineRefused, Unanswered
from httpapi.client.vm.qmp import Line

_SYNC_SECONDS: Final = 5.0
_THAW: Final = "guest-fsfreeze-thaw"
# A file system that has much to write takes its time.
_SECONDS: Final = 60.0


class Agent:
    """`path` is the host's end of the channel `org.qemu.guest_agent.0`. MachineRefused if nobody answers."""

    def __init__(self, path: str) -> None:
        self._line = Line(path, "the guest agent")
        line = shlex.quote(json.dumps({"execute": _THAW}))
        self.by_hand = f"echo {line} | socat -t 10 - {shlex.quote(f'UNIX-CONNECT:{path}')}"
        number = self._send_sync()
        try:
            self._pass_over(number, _SYNC_SECONDS)
        except TimeoutError:
            raise MachineRefused("the guest agent does not answer: is it running in the guest?") from None

    def freeze(self) -> int:
        """How many file systems were frozen. Unanswered if that takes too long: then they may be later."""
        command = "guest-fsfreeze-freeze"
        self._line.send({"execute": command})
        count = self._answer(command)
        return count if isinstance(count, int) else 0

    def thaw(self) -> None:
        """They go on. Unanswered if nobody says so in time.

        It is sent without waiting for anything: an agent that is still freezing answers nothing, but does one thing
        after the other, and so thaws as soon as it has frozen.
        """
        number = self._send_sync()
        self._line.send({"execute": _THAW})
        self._answer(_THAW, after=number)

    def close(self) -> None:
        """Lets others in."""
        self._line.close()

    def _send_sync(self) -> int:
        number = secrets.randbelow(1 << 31)
        # 0xff ends whatever half a line the agent has been sent before.
        self._line.send({"execute": "guest-sync", "arguments": {"id": number}}, before=b"\xff")
        return number

    def _pass_over(self, number: int, seconds: float) -> None:
        """All that comes up to the answer that is this number; TimeoutError."""
        while self._line.receive(seconds).get("return") != number:
            pass

    def _answer(self, command: str, after: int | None = None) -> Any:  # noqa: ANN401 - JSON
        """The next answer, or the next one after that number."""
        try:
            if after is not None:
                self._pass_over(after, _SECONDS)
            answer = self._line.receive(_SECONDS)
        except TimeoutError:
            raise Unanswered(f"the guest agent has not answered {command} for {_SECONDS:.0f} s") from None
        if "error" in answer:
            raise MachineRefused(f"the guest agent refuses {command}: {answer['error'].get('desc')}")
        return answer.get("return")
