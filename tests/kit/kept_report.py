"""A report that keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class KeptReport:
    total: int | None = None
    done: int = 0
    notes: list[str] = field(default_factory=list)

    def begin(self, total: int | None) -> None:
        self.total = total

    def moved(self, done: int) -> None:
        assert done >= self.done
        self.done = done

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
