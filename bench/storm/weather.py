"""kill -9 and SIGSTOP of whatever runs, one after another, until it is told to end; then everything runs again."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from bench.storm.world import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.storm.world import World

_CALM: Final = (1.0, 3.0)  # seconds between two
_FROZEN: Final = (0.3, 1.0, 2.0, 6.0)  # seconds; the longest is longer than a collector waits
_DOWN: Final = (0.0, 0.5, 1.5)


class Weather:
    """A thread of its own; a context manager."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._dice = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._blow)
        self._failed: BaseException | None = None
        self.happened: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _blow(self) -> None:
        kinds: dict[str, Callable[[], bool]] = {
            "kill -9 of a server": self._kill_a_server,
            "SIGSTOP of a server": self._freeze_a_server,
            "kill -9 of the worker": self._kill_the_worker,
            "SIGSTOP of the worker": self._freeze_the_worker,
            "kill -9 of a verb": self._kill_a_verb,
            "SIGSTOP of a verb": self._freeze_a_verb,
        }
        try:
            while not self._ended.wait(self._dice.uniform(*_CALM)):
                self._world.check_running()
                name = self._dice.choice(sorted(kinds))
                self.happened[name] += kinds[name]()
        except Exception as error:  # noqa: BLE001 - told where the block ends
            self._failed = error

    def _kill_a_server(self) -> bool:
        server = self._dice.choice(self._world.servers)
        server.kill()
        self._ended.wait(self._dice.choice(_DOWN))
        server.start()
        return True

    def _freeze_a_server(self) -> bool:
        with frozen(self._dice.choice(self._world.servers).pid):
            self._ended.wait(self._dice.choice(_FROZEN))
        return True

    def _kill_the_worker(self) -> bool:
        self._world.worker.kill()
        self._ended.wait(self._dice.choice(_DOWN))
        self._world.worker.start()
        return True

    def _freeze_the_worker(self) -> bool:
        with frozen(self._world.worker.pid):
            self._ended.wait(self._dice.choice(_FROZEN))
        return True

    def _kill_a_verb(self) -> bool:
        return self._world.verbs.signal(self._dice, signal.SIGKILL) is not None

    def _freeze_a_verb(self) -> bool:
        pid = self._world.verbs.signal(self._dice, signal.SIGSTOP)
        if pid is None:
            return False
        self._ended.wait(self._dice.choice(_FROZEN))
        self._world.verbs.go_on(pid)
        return True
