"""A report that keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class KeptReport:
    total: int | None = None
    done: int = 0
    unchanged: int = 0
    network: int = 0
    notes: list[str] = field(default_factory=list)

    def begin(self, total: int | None) -> None:
        self.total, self.done = total, 0

    def moved(self, done: int) -> None:
        assert done >= self.done
        self.done = done

    def compared(self, unchanged: int, moved: int) -> None:
        self.unchanged, self.network = unchanged, moved

    def tell(self, sentence: str) -> None:
        self.notes.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
