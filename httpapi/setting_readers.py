"""How the value of each setting is read: its name and its kind. `settings.py` says where values come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httpapi import setting_values as values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "data": values.path,
    "listen": values.listen,
    "workers": values.count(1, 64),
    "public_url": values.url,
    "trusted_proxies": values.networks,
    "tls_certificate": values.path,
    "tls_key": values.path,
    "insecure": values.switch,
    "block_size": values.block_size,
    "slab_budget": values.size_of_at_least(16 << 20),
    "generation_bytes": values.size_of_at_least(1 << 20),
    "generation_seconds": values.seconds,
    "image_size_cap": values.size_of_at_least(1),
    "identity": values.one_of("none", "basic", "keystone"),
    "identity_user": values.text,
    "identity_project": values.text,
    "identity_roles": values.roles,
    "identity_file": values.path,
    "identity_accounts": values.path,
    "keystone_auth_url": values.url,
    "keystone_public_url": values.url,
    "keystone_username": values.text,
    "keystone_password": values.secret,
    "keystone_password_file": values.path,
    "keystone_user_domain": values.text,
    "keystone_project": values.text,
    "keystone_project_domain": values.text,
    "keystone_service_roles": values.roles,
    "keystone_cache_time": values.duration,
    "keystone_timeout": values.seconds,
    "keystone_ca_file": values.path,
    "keystone_insecure": values.switch,
    "policy_file": values.path,
    "hashes": values.one_of("inline", "background"),
    "formats": values.one_of("enforce", "warn", "off"),
    "delta_expiry": values.seconds,
    "gc_keep_deleted": values.duration,
    "project_uploads": values.count(1, 1_000_000),
    "project_journals": values.size_of_at_least(1 << 20),
    "quota_file": values.path,
    "stores_file": values.path,
    "show_locations": values.switch,
    "show_direct_url": values.switch,
    "gc_every": values.duration,
    "gc_rate": values.size_of_at_least(1 << 20),
    "jobs": values.count(0, 64),
    "scrub_every": values.duration,
    "scrub_rate": values.size_of_at_least(1),
    "property_protection_file": values.path,
    "property_protection_rule_format": values.one_of("roles", "policies"),
    "metrics": values.one_of("admin", "open", "off"),
    "log_level": values.one_of("debug", "info", "warning", "error"),
    "log_format": values.one_of("text", "json"),
    "shutdown_grace": values.seconds,
    "header_timeout": values.seconds,
    "body_timeout": values.seconds,
}
