"""The cloud that tempest asks: the real Keystone, and this service behind it, a process of its own, with three stores.

Images for it to fetch are on a web server on loopback.
"""

from __future__ import annotations

import contextlib
import json
import random
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.show.server import Server
from tests.kit.broken_web import BrokenWeb, Served
from tests.kit.disk_files import disk_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.real_keystone import Keystone, Login

WORKERS: Final = 2
OTHER: Final = "image_remote"
"""What Keystone's catalog calls the second process."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One way that the service is set up; `formats` and `location_hashes` are its settings."""

    name: str
    formats: str
    location_hashes: bool

    @property
    def enforces(self) -> bool:
        """Whether bytes of another format than was said are refused."""
        return self.formats == "enforce"


PROFILES: Final = (
    Profile("enforced", "enforce", location_hashes=True),
    Profile("not-enforced", "off", location_hashes=False),
)
"""With `image_format_enforcement` and `do_secure_hash`, as we are by default, and without them."""


@contextlib.contextmanager
def web() -> Iterator[BrokenWeb]:
    """A web server with images to fetch, which does nothing wrong.

    Of one that is registered tempest looks whether it has no hashes yet: it takes a moment to read.
    """
    with BrokenWeb() as running:
        running.files["/image.raw"] = Served(random.Random(8).randbytes(48 << 20))
        running.files["/image.qcow2"] = Served(disk_file("plain.qcow2"))
        yield running


@contextlib.contextmanager
def served(keystone: Keystone, profile: Profile, room: Path, images: BrokenWeb) -> Iterator[Server]:
    """The service, with the image endpoint of Keystone's catalog leading to it, and a metadata definition.

    A second process on the same data is there for what was staged at one to be imported at another.

    Tempest looks for a type of resources that some definition is of: in a cloud definitions were loaded.
    """
    stores = room / "stores.toml"
    stores.write_text(_stores(room), encoding="utf-8")
    settings = {
        "stores_file": stores,
        "show_locations": "true",
        "show_direct_url": "true",
        "import_methods": "glance-direct,web-download,copy-image,glance-download",
        "outgoing_ports": f"80,443,{images.port}",
        "outgoing_networks": "127.0.0.0/8",
        "identity": "keystone",
        "keystone_auth_url": keystone.url,
        "keystone_password": keystone.service.password,
        # It is one process on a machine that does everything else, too.
        "keystone_timeout": 60,
        "formats": profile.formats,
        "location_hashes": str(profile.location_hashes).lower(),
    }
    with Server(room / "data", settings=settings) as server, Server(room / "data", settings=settings) as other:
        keystone.endpoint(server.url)
        keystone.endpoint(other.url, service=OTHER, name="drystone-too")
        _define(server.url, keystone.token(keystone.admin))
        yield server


def _stores(room: Path) -> str:
    """Heavier ones come first by their names, too: tempest compares with both orders."""
    for name in ("fast", "slow"):
        (room / name).mkdir()
    return f"""[stores.blocks]
weight = 30
default = true
[stores.fast]
type = "file"
directory = "{room}/fast"
weight = 20
[stores.slow]
type = "file"
directory = "{room}/slow"
weight = 10
[stores.web]
type = "http"
"""


def _define(url: str, token: str) -> None:
    definition = {"namespace": "loaded", "resource_type_associations": [{"name": "OS::Glance::Image"}]}
    headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
    body = json.dumps(definition).encode()
    request = urllib.request.Request(f"{url}/v2/metadefs/namespaces", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


def accounts(keystone: Keystone) -> str:
    """Tempest's file of accounts, made once: that each class makes its own takes most of a run's time.

    A class takes somebody with the role member, perhaps a reader of the same project, perhaps the first who is left as
    somebody from elsewhere, perhaps an admin: so much for each worker, those from elsewhere first.
    """
    kinds = (("elsewhere", "elsewhere", "member"), ("member", "own", "member"), ("reader", "own", "reader"))
    found = [
        _account(keystone.login(f"{name}-{number}", f"{project}-{number}", role), role)
        for name, project, role in (*kinds, ("admin", "admins", "admin"))
        for number in range(WORKERS)
    ]
    # JSON is YAML, too.
    return json.dumps(found, indent=1)


def _account(login: Login, role: str) -> dict[str, object]:
    return {
        "username": login.name,
        "password": login.password,
        "project_name": login.project,
        "domain_name": "Default",
        "roles": [role],
    }


def configuration(keystone: Keystone, profile: Profile, room: Path, images: BrokenWeb) -> str:
    """tempest.conf; what is off there because we do not serve it has its reason in README.md."""
    return f"""[DEFAULT]
log_file = {room}/tempest.log
use_stderr = false
[oslo_concurrency]
lock_path = {room}/locks
[auth]
use_dynamic_credentials = false
test_accounts_file = {room}/accounts.yaml
[identity]
uri_v3 = {keystone.url}
auth_version = v3
region = RegionOne
[service_available]
glance = true
nova = false
cinder = false
neutron = false
swift = false
horizon = false
[enforce_scope]
glance = true
[image]
http_image = {images.url("/image.raw")}
http_qcow2_image = {images.url("/image.qcow2")}
alternate_image_endpoint = {OTHER}
image_caching_enabled = false
[image-feature-enabled]
api_v2 = true
os_glance_reserved = true
import_image = true
manage_locations = true
http_store_enabled = true
do_secure_hash = {str(profile.location_hashes).lower()}
store_weight_enabled = true
image_conversion = false
image_format_enforcement = {str(profile.enforces).lower()}
"""
