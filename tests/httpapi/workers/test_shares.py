"""What each worker gets, and that its settings arrive as they were."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from catalog.model.lane import Places
from httpapi.job_places import in_server, in_worker
from httpapi.setting_values import Listen, Secret
from httpapi.settings import Settings
from httpapi.workers.shares import LEAST_SLABS, from_document, share_of, to_document

MIB = 1 << 20
UNUSUAL = Settings(
    data=Path(" images of\nmine "),
    listen=Listen("::1", 0),
    workers=7,
    public_url="https://images.example.org/images",
    trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    tls_certificate=Path("/etc/\udcff.pem"),
    tls_key=Path("key.pem"),
    insecure=True,
    block_size=4096,
    slab_budget=16 * MIB + 1,
    generation_bytes=1 * MIB,
    generation_seconds=0.1 + 0.2,
    image_size_cap=1,
    identity="basic",
    identity_user="ann b",
    identity_project="größe",
    identity_roles=frozenset(),
    identity_file=Path("users"),
    identity_accounts=Path("accounts.toml"),
    keystone_auth_url="https://keys.example.org/v3",
    keystone_public_url="https://public.example.org/v3",
    keystone_username="ours",
    keystone_password=Secret(" a secret\n"),
    keystone_password_file=Path("password"),
    keystone_user_domain="users",
    keystone_project="services",
    keystone_project_domain="projects",
    keystone_service_roles=frozenset({"nova", "cinder"}),
    keystone_cache_time=0.0,
    keystone_timeout=1.5,
    keystone_ca_file=Path("ca.pem"),
    keystone_insecure=True,
    hashes="background",
    delta_expiry=3.5,
    staging_expiry=4.5,
    location_hashes=False,
    import_methods=frozenset({"glance-direct"}),
    import_convert="raw",
    import_decompress=True,
    import_inject=("os_type=linux", "tier=gold, or so"),
    import_inject_ignore_roles=frozenset({"admin", "reader"}),
    work_dir=Path("/mnt/fast/work"),
    outgoing_schemes=frozenset({"https"}),
    outgoing_ports=frozenset({8443}),
    outgoing_hosts=("mirror.example.org",),
    outgoing_networks=(ip_network("10.0.0.0/8"),),
    outgoing_timeout=7.5,
    gc_keep_deleted=7.5,
    project_uploads=3,
    project_journals=5 * MIB,
    quota_file=Path("quotas.toml"),
    stores_file=Path("stores.toml"),
    show_locations=True,
    show_direct_url=True,
    policy_file=Path("policy.yaml"),
    property_protection_file=Path("protections.ini"),
    property_protection_rule_format="policies",
    formats="off",
    # As 1.1 h come out.
    gc_every=1.1 * 3600,
    gc_rate=7 * MIB,
    scrub_every=90.5,
    scrub_rate=9 * MIB,
    jobs=0,
    slow_jobs=5,
    signed_urls=False,
    signed_url_longest=60.5,
    url_keys_file=Path("keys"),
    convert_user="converter",
    convert_limit=2 * MIB,
    convert_memory=900 * MIB,
    convert_cpu_time=70.5,
    convert_seconds=80.5,
    metrics="open",
    log_level="debug",
    log_format="json",
    shutdown_grace=1e-3,
    header_timeout=1.5,
    body_timeout=7.0,
)


@pytest.mark.parametrize("settings", [Settings(), UNUSUAL])
def test_settings_arrive_as_they_were(settings: Settings) -> None:
    assert from_document(json.loads(json.dumps(to_document(settings)))) == settings


def test_no_setting_is_missing_from_that_test() -> None:
    usual = Settings()
    assert not [each.name for each in fields(usual) if getattr(usual, each.name) == getattr(UNUSUAL, each.name)]


def test_memory_is_shared_out_and_nobody_has_too_little() -> None:
    settings = replace(Settings(), workers=4, slab_budget=128 * MIB)
    assert [share_of(settings, number).slab_budget for number in range(1, 5)] == [32 * MIB] * 4
    assert share_of(replace(settings, slab_budget=20 * MIB), 3).slab_budget == LEAST_SLABS


@pytest.mark.parametrize(("jobs", "shares"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (3, [1, 1, 1]), (5, [2, 2, 1])])
def test_all_jobs_are_given_out_and_none_twice(jobs: int, shares: list[int]) -> None:
    settings = replace(Settings(), workers=3, jobs=jobs)
    assert [share_of(settings, number).jobs for number in (1, 2, 3)] == shares


@pytest.mark.parametrize(
    ("slow", "shares"),
    [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [2, 0, 0]), (3, [3, 0, 0]), (4, [2, 2, 0]), (7, [3, 2, 2]), (None, [2, 2, 0])],
)
def test_slow_jobs_are_given_out_in_pairs_so_that_no_project_can_have_all_of_a_worker(
    slow: int | None, shares: list[int]
) -> None:
    settings = replace(Settings(), workers=3, slow_jobs=slow)
    assert [share_of(settings, number).slow_jobs for number in (1, 2, 3)] == shares


def test_who_leaves_jobs_to_others_leaves_slow_ones_to_them_too_unless_told_otherwise() -> None:
    left = replace(Settings(), jobs=0)
    assert (in_server(left), in_worker(left)) == (Places(0, 0), Places(1, 4))
    assert in_server(replace(left, slow_jobs=3)) == Places(0, 3)
    assert in_worker(replace(left, slow_jobs=0)) == Places(1, 1)
    assert in_server(Settings()) == in_worker(Settings()) == Places(1, 4)
