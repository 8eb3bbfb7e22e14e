"""A step of the script: one request, by whom, and how it is called in the list of differences."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PATCH: Final = re.compile("^application/openstack-images-(?=v2.[01]-json-patch$)")
_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `{name}` in path and body is the id of the image that the step which keeps that name made."""

    who: Person
    method: str
    path: str
    body: object = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: str | None = None
    whole: bool = False

    @property
    def label(self) -> str:
        """The request in one line."""
        words = [self.who.name, self.method, _short(self.path)]
        words += [
            f"[{name}: {_PATCH.sub('patch ', value)}]" for name, value in self.headers.items() if value != _OCTETS
        ]
        if self.raw is not None:
            words.append(_short(repr(self.raw)))
        elif self.body is not None:
            words.append(_short(json.dumps(self.body)))
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a project and roles; without a project nobody is known to stand behind the request."""

    name: str
    project: str | None
    roles: Sequence[str] = ()
    service_roles: Sequence[str] = ()

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keep: str | None = None,
        whole: bool = False,
    ) -> Step:
        """A step that this person makes; `whole` keeps the records of a list, not just which images it has."""
        return Step(self, method, path, body, raw, headers or {}, keep, whole)

    def new(self, keep: str, **attributes: object) -> Step:
        """A new image, kept under that name."""
        return self("POST", "/v2/images", {"disk_format": "raw", "container_format": "bare", **attributes}, keep=keep)

    def put(self, name: str, data: bytes = b"0123456789", **headers: str) -> Step:
        """The bytes of an image."""
        types = {"Content-Type": _OCTETS} | {key.replace("_", "-"): each for key, each in headers.items()}
        return self("PUT", f"/v2/images/{{{name}}}/file", raw=data, headers=types)


MEMBER: Final = ("member", "reader")

ann = Person("ann", "stone", MEMBER)
sam = Person("sam", "stone", MEMBER)
rea = Person("rea", "stone", ("reader",))
bob = Person("bob", "wood", MEMBER)
eve = Person("eve", "clay", MEMBER)
pip = Person("pip", "wood", ("reader",))
root = Person("root", "house", ("admin", *MEMBER))
svc = Person("svc", "services", ("service",), ("service",))
odd = Person("odd", "stone", ("other",))
anon = Person("anon", None)


def labels(steps: Sequence[Step]) -> list[str]:
    """A name for each step that no other one has."""
    seen: dict[str, int] = {}
    named = []
    for step in steps:
        seen[step.label] = times = seen.get(step.label, 0) + 1
        named.append(step.label if times == 1 else f"{step.label} ({times})")
    return named


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:60]}… {len(text)} characters"
