"""A task as it travels: the record, its JSON, and the stub that lists have.

The keys are the reference's. A task that is not over has `{"progress": N}` in `result`, a percentage: the reference
leaves `result` open there, and so no client meets a key that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from httpapi.wire.errors import BadRequest
from httpapi.wire.images import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

UNDER_WAY = frozenset({"pending", "processing"})
"""The statuses that another one follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """What the API tells of one task; times as on the wire, `progress` a percentage."""

    id: str
    type: str
    status: str
    created_at: str
    updated_at: str
    owner: str | None = None
    expires_at: str | None = None
    message: str = ""
    input: Mapping[str, object] = field(default_factory=dict)
    result: Mapping[str, object] | None = None
    image_id: str | None = None
    request_id: str | None = None
    user_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing follows any more."""
        return self.status not in UNDER_WAY

    @property
    def makes_anew(self) -> bool:
        """Whether an import unpacks or converts what is sent, by the service's rules: the image has other bytes."""
        rules = self.input.get("import_rules")
        return isinstance(rules, dict) and not rules.keys().isdisjoint({"convert", "decompress"})

    @property
    def progress(self) -> int | None:
        """How far it is, in percent; None where nobody says."""
        if self.status == "success":
            return 100
        told = (self.result or {}).get("progress")
        return told if isinstance(told, int) and 0 <= told <= 100 else None

    def stub(self) -> dict[str, object]:
        """The JSON object that lists of tasks have."""
        base: dict[str, object] = {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "owner": self.owner,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        if self.expires_at is not None:
            base["expires_at"] = self.expires_at
        return base | {"self": f"{ROOT}/tasks/{self.id}", "schema": f"{ROOT}/schemas/task"}

    def to_json(self) -> dict[str, object]:
        """The whole JSON object."""
        return self.stub() | {
            "input": dict(self.input),
            "result": None if self.result is None else dict(self.result),
            "message": self.message,
            "image_id": self.image_id,
            "request_id": self.request_id,
            "user_id": self.user_id,
        }


def parse_new_task(document: object) -> tuple[str, Mapping[str, object]]:
    """Type and input of the task that a request asks for; raises BadRequest for what is no task."""
    given = document if isinstance(document, dict) else {}
    kind, about = given.get("type"), given.get("input")
    if not isinstance(kind, str) or not isinstance(about, dict):
        raise BadRequest('The JSON body says what task it is, such as {"type": "import", "input": {}}.')
    return kind, about


def parse_task(document: Mapping[str, object]) -> TaskRecord:
    """The record in a server's JSON object, a stub's too; raises KeyError when what every task has is missing."""
    texts = {name: str(document[name]) for name in ("id", "type", "status", "created_at", "updated_at")}
    maybe = {
        name: value
        for name in ("owner", "expires_at", "image_id", "request_id", "user_id")
        if isinstance(value := document.get(name), str)
    }
    given, result, message = document.get("input"), document.get("result"), document.get("message")
    return TaskRecord(
        **texts,
        **maybe,
        message=message if isinstance(message, str) else "",
        input=given if isinstance(given, dict) else {},
        result=result if isinstance(result, dict) else None,
    )
