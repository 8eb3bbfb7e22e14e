"""Who asks: what the identity service says of a request's sender."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from catalog.rules import Rules

# What a role brings along. Keystone lists implied roles itself; other identities need not.
_IMPLIED_BY: Final = {
    "member": frozenset({"member", "admin"}),
    "reader": frozenset({"reader", "member", "admin"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of one project, with the lower-case names of the roles held there.

    `service_roles` are those of a service that asks for this user, where an identity knows such. `rules` is the policy
    that holds for the caller, None for the defaults.
    """

    user: str
    project: str
    roles: frozenset[str]
    service_roles: frozenset[str] = frozenset()
    rules: Rules | None = field(default=None, compare=False, repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether the caller administers the whole service."""
        return "admin" in self.roles

    def has(self, role: str) -> bool:
        """Whether the caller holds `role`: an admin is a member too, and a member a reader."""
        return not self.roles.isdisjoint(_IMPLIED_BY.get(role, frozenset({role})))
