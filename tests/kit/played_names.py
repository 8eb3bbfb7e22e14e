"""A resolver that says what it is told, another thing each time: DNS as an attacker runs it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PlayedNames:
    """`outgoing.names.Names`: each name's answers in order, the last one for ever; an unknown name has none."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: Counter[str] = Counter()

    async def addresses(self, name: str) -> Sequence[str]:
        self.asked[name] += 1
        answers = self.answers.get(name)
        if not answers:
            raise OSError(f"no address for {name}")
        return answers[min(self.asked[name], len(answers)) - 1]
