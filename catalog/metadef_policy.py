"""Who may do what with metadata definitions; `metadefs/rules.py` has the rules, `policy.py` says how they are used.

Namespaces that are public, and the own project's, are in reach of a caller who is no admin; `get_metadef_namespace` can
hide more. What a namespace has is judged by rules of its kind, all of which look at the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.model.metadef import Shown
from catalog.policy import is_own, owned_by, rules_of

if TYPE_CHECKING:
    from catalog.model.caller import Caller
    from catalog.model.metadef import Namespace


def namespace_visible(caller: Caller, namespace: Namespace) -> bool:
    """Whether the namespace exists, as far as the caller is told."""
    shown = namespace.visibility is Shown.PUBLIC
    return (shown or is_own(caller, namespace.owner)) and may_define(caller, "get_metadef_namespace", namespace)


def may_define(caller: Caller, rule: str, namespace: Namespace) -> bool:
    """Whether this rule on metadata definitions lets the caller do it to the namespace, or with what it has."""
    target = owned_by(namespace.owner) | {
        "namespace": namespace.name,
        "visibility": namespace.visibility.value,
        "protected": namespace.protected,
    }
    return rules_of(caller).allow(rule, caller, target)


def may_list_namespaces(caller: Caller) -> bool:
    """Whether the caller may ask for lists of namespaces, which tell their types of resources, too."""
    asks = rules_of(caller).allow("get_metadef_namespaces", caller, owned_by(caller.project))
    return asks and may_list_resource_types(caller)


def may_list_resource_types(caller: Caller) -> bool:
    """Whether the caller may know which types of resources there are."""
    target = owned_by(caller.project) | {"namespace": None, "visibility": Shown.PRIVATE.value, "protected": False}
    return rules_of(caller).allow("list_metadef_resource_types", caller, target)
