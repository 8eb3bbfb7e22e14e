"""The guest agent of QEMU's, asked by its socket: what freezing needs of it.

It has no greeting, and what an earlier caller did not wait for may still come: a number is asked back first
(`guest-sync`, see qemu/docs/interop/qemu-ga-ref).
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from httpapi.client.vm.machine import MachineRefused
from httpapi.client.vm.qmp import Line

_SYNC_SECONDS: Final = 5.0
# A file system that has much to write takes its time.
_SECONDS: Final = 60.0


class Agent:
    """`path` is the host's end of the channel `org.qemu.guest_agent.0`. MachineRefused if nobody answers."""

    def __init__(self, path: str) -> None:
        self._line = Line(path, "the guest agent")
        self._sync()

    def freeze(self) -> int:
        """How many file systems were frozen."""
        count = self._ask("guest-fsfreeze-freeze")
        return count if isinstance(count, int) else 0

    def thaw(self) -> None:
        """They go on."""
        self._sync()
        self._ask("guest-fsfreeze-thaw")

    def _sync(self) -> None:
        number = secrets.randbelow(1 << 31)
        # 0xff ends whatever half a line the agent has been sent before.
        self._line.send({"execute": "guest-sync", "arguments": {"id": number}}, before=b"\xff")
        try:
            while self._line.receive(_SYNC_SECONDS).get("return") != number:
                pass
        except TimeoutError:
            raise MachineRefused("the guest agent does not answer: is it running in the guest?") from None

    def _ask(self, command: str) -> Any:  # noqa: ANN401 - JSON
        self._line.send({"execute": command})
        try:
            answer = self._line.receive(_SECONDS)
        except TimeoutError:
            raise MachineRefused(f"the guest agent has not answered {command} for {_SECONDS:.0f} s") from None
        if "error" in answer:
            raise MachineRefused(f"the guest agent refuses {command}: {answer['error'].get('desc')}")
        return answer.get("return")
