"""What settings come to, before anything is opened: whether a server could start with them, and what would run where.

`serve` refuses to start over the same problems that `config check` prints, and logs the same warnings.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockstore import clock
from catalog.model.quota import NAMES
from catalog.property_protection import Protection
from httpapi import tls
from httpapi.check_directories import describe_data, describe_work
from httpapi.check_notes import Notes
from httpapi.conversion import check_programs
from httpapi.import_methods import import_methods
from httpapi.import_rules import describe_imports, import_rules
from httpapi.job_places import in_server
from httpapi.keystone_settings import odd_keystone
from httpapi.lifecycle import check_listen
from httpapi.outgoing import describe_outgoing, odd_outgoing
from httpapi.policy_file import policy_of
from httpapi.protection_file import describe, protection_of
from httpapi.quota_file import load_quotas, shown_quota
from httpapi.settings import SettingsRefused
from httpapi.stores_file import beside_data, load_stores, odd_stores
from httpapi.url_keys import describe_keys
from httpapi.wire.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpapi.identity.contract import Identity
    from httpapi.settings import Settings


@dataclass(frozen=True, slots=True)
class Checked:
    """Sentences: `problems` a server would not start with, `warnings` somebody should know, `plan` what runs where.

    `identity` is the one that the settings name; it is there when there are no problems.
    """

    identity: Identity | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    plan: dict[str, str]

    def refuse(self) -> None:
        """Raise SettingsRefused over the first problem, if there is one."""
        if not self.problems:
            return
        more = len(self.problems) - 1
        hint = f" There is more: `drystone config check` names {more + 1} problems." if more else ""
        raise SettingsRefused(self.problems[0] + hint)


def check(settings: Settings, identity_of: Callable[[Settings], Identity]) -> Checked:
    """Look at everything that the settings name; opens no data directory, makes nothing, listens nowhere."""
    notes = Notes()
    identity = _identity(settings, identity_of, notes)
    protection = _protection(settings, notes)
    plan = {
        "listens on": f"{_scheme(settings)}://{settings.listen}{_reach(settings)}",
        "public address": settings.public_url or "what each request names",
        "believes proxies": ", ".join(map(str, settings.trusted_proxies)) or "none",
        "TLS": _tls(settings, notes),
        "identity": f"{settings.identity}, not usable yet" if identity is None else identity.describe,
        "policy": _policy(settings, protection or Protection(), notes),
        "data": describe_data(settings.data, notes),
        "quotas": _quotas(settings, notes),
        "stores": _stores(settings, notes),
        "asks": describe_outgoing(settings),
        "signed URLs": _described(lambda: describe_keys(settings), notes),
        "formats": _FORMATS[settings.formats],
        "imports": _described(lambda: _imports(settings), notes),
        "work": describe_work(settings, notes),
        "workers": _workers(settings),
        "jobs": _jobs(settings),
        "collection": _collection(settings),
        "scrubbing": _scrubbing(settings),
        "properties": "not usable yet" if protection is None else describe(settings, protection),
        "metrics": {"admin": "for administrators", "open": "for everybody", "off": "off"}[settings.metrics],
        "log": f"{settings.log_level} and worse, as {settings.log_format}, on standard error",
    }
    notes.warnings += [
        *_odd_addresses(settings),
        *_without_effect(settings),
        *odd_keystone(settings),
        *odd_outgoing(settings),
    ]
    return Checked(identity, tuple(notes.problems), tuple(notes.warnings), plan)


def _protection(settings: Settings, notes: Notes) -> Protection | None:
    try:
        return protection_of(settings)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return None


def _collection(settings: Settings) -> str:
    if not settings.gc_every:
        return "never by itself: `drystone admin gc` gives back what deleted images took"
    limit = "" if settings.gc_rate is None else f", reading at most {settings.gc_rate / (1 << 20):g} MiB a second"
    return f"every {settings.gc_every / 3600:g} h, as a process that gives way to all others{limit}"


def _scrubbing(settings: Settings) -> str:
    if not settings.scrub_every:
        return "never by itself: `drystone admin scrub` reads all data again and mends what it can"
    limit = f"reading at most {settings.scrub_rate / (1 << 20):g} MiB a second"
    return f"every {settings.scrub_every / 86400:g} d, as a process that gives way to all others, {limit}"


def _identity(settings: Settings, identity_of: Callable[[Settings], Identity], notes: Notes) -> Identity | None:
    try:
        identity = identity_of(settings)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return None
    has_tls = settings.tls_certificate is not None and settings.tls_key is not None
    notes.refused(lambda: check_listen(settings.listen, identity, tls=has_tls, insecure=settings.insecure))
    return identity


def _policy(settings: Settings, protection: Protection, notes: Notes) -> str:
    try:
        found = policy_of(settings, protection)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return f"{settings.policy_file or 'the rules of properties'}, not usable"
    if found is None or settings.policy_file is None:
        return "the reference's default rules"
    if found.idle:
        notes.warnings.append(
            f"policy_file {settings.policy_file}: {', '.join(found.idle)} rule acts that this service does not have."
        )
    return f"{settings.policy_file}: {found.given} rules, and the reference's defaults"


def _scheme(settings: Settings) -> str:
    return "https" if settings.tls_certificate or settings.tls_key else "http"


def _reach(settings: Settings) -> str:
    return ", from this machine only" if is_loopback(settings.listen.host) else ", from other machines too"


def _tls(settings: Settings, notes: Notes) -> str:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return "off"
    if certificate is None or key is None:
        there, missing = ("tls_certificate", "tls_key") if key is None else ("tls_key", "tls_certificate")
        notes.problems.append(f"{there} is set and {missing} is not: TLS needs both, or neither.")
        return "incomplete"
    try:
        found = tls.examine(certificate, key)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return "not usable yet"
    now = clock.now()
    if (unusable := found.refusal(now)) is not None:
        notes.problems.append(f"tls_certificate {certificate}: {unusable}")
    if (warning := found.warning(now)) is not None:
        notes.warnings.append(warning)
    if stat.S_IMODE(key.stat().st_mode) & (stat.S_IROTH | stat.S_IWOTH):
        notes.warnings.append(f"The private key {key} can be read by every user of this machine: chmod 600 {key}")
    return str(found)


def _quotas(settings: Settings, notes: Notes) -> str:
    try:
        said = load_quotas(settings.quota_file)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return "not usable yet"
    if settings.quota_file is None:
        return "those that `drystone admin quota set` gives; else none"
    bounds = [f"{name} {shown_quota(name, getattr(said.default, name))}" for name in NAMES]
    default = ", ".join(bound for bound in bounds if not bound.endswith(" ")) or "none"
    return (
        f"for a project: `drystone admin quota set`, then the file, which names {len(said.projects)}; "
        f"for others: `drystone admin quota set --default`, then the file: {default}"
    )


def _stores(settings: Settings, notes: Notes) -> str:
    try:
        stores = load_stores(settings.stores_file)
        import_methods(settings, stores)
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return "not usable yet"
    if not stores.several:
        return "our own blocks alone"
    notes.problems += beside_data(stores, settings.data)
    notes.warnings += odd_stores(stores)
    told = (f"{info.name} ({info.kind}{', the default' * info.default})" for info in stores.infos())
    return f"by weight: {', '.join(told)}"


def _imports(settings: Settings) -> str:
    rules = import_rules(settings)
    if (rules.convert is not None or rules.decompress) and in_server(settings).slow:
        # Else each import would wait, and be tried again and again.
        check_programs()
    return describe_imports(rules)


def _described(describe: Callable[[], str], notes: Notes) -> str:
    try:
        return describe()
    except SettingsRefused as refusal:
        notes.problems.append(str(refusal))
        return "not usable yet"


def _workers(settings: Settings) -> str:
    return "1 process" if settings.workers == 1 else f"{settings.workers} processes on one port"


def _jobs(settings: Settings) -> str:
    places = in_server(settings)
    if not places.quick + places.slow:
        return "none here: `drystone worker` has to run beside this"
    told = f"up to {places.quick} at once in this server, and {places.slow} slow ones"
    return told if places.quick and places.slow else f"{told}; `drystone worker` has to run beside this"


_FORMATS: Final = {
    "enforce": "bytes of another format than was said, or not safe to open, are refused",
    "warn": "bytes of another format than was said, or not safe to open, are told in the log and taken",
    "off": "nobody looks at what images are",
}


def _without_effect(settings: Settings) -> Iterator[str]:
    if settings.property_protection_rule_format != "roles" and settings.property_protection_file is None:
        yield "property_protection_rule_format does nothing: property_protection_file is not set."


def _odd_addresses(settings: Settings) -> Iterator[str]:
    if settings.public_url is not None and settings.public_url.startswith("http://") and _scheme(settings) == "https":
        yield f"public_url {settings.public_url} is http, and the server speaks TLS only: links will lead nowhere."
    for network in settings.trusted_proxies:
        if network.prefixlen == 0:
            yield f"trusted_proxies holds {network}: everybody is believed, so anybody can call from any address."
