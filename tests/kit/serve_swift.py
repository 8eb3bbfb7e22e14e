"""Serves the real Swift for tests, one node in one process; runs in its own environment, `.swift`.

`python serve_swift.py DIRECTORY PORT [KEYSTONE_URL PASSWORD]` keeps everything in DIRECTORY, where it makes what is
missing: rings, configuration. The proxy listens on PORT, the account, container and object server on PORT + 1 to
PORT + 3. It knows tokens of TempAuth, and those of Keystone, as service user `drystone`, if it is named. It prints
`ready` once all four listen, and ends with its standard input, however its parent ends.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from pathlib import Path

COMMON = """
[swift-hash]
swift_hash_path_suffix = tests
[storage-policy:0]
name = Policy-0
default = yes
[swift-constraints]
"""
SERVER = """
[DEFAULT]
swift_dir = {root}
devices = {root}/devices
bind_ip = 127.0.0.1
bind_port = {port}
mount_check = false
fallocate_reserve = 0
workers = 0
log_name = {kind}
[pipeline:main]
pipeline = {pipeline}
[app:server]
use = egg:swift#{kind}
"""
TEMPAUTH = """
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:tempauth]
use = egg:swift#tempauth
token_life = {token_seconds}
user_drystone_images = images-key .admin
user_drystone_reader = reader-key
storage_url_scheme = http
# Tokens that need no memcached.
fernet_key_tests = bmV2ZXItdXNlZC1vdXRzaWRlLW9mLXRlc3RzLTMyLWI=
active_fernet_key_id = tests
[filter:bulk]
use = egg:swift#bulk
[filter:container_quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
"""
KEYSTONE = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = drystone
password = {password}
delay_auth_decision = true
cache = swift.cache
include_service_catalog = false
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""


def settle(root: Path, port: int, token_seconds: str, keystone: list[str]) -> None:
    """Make rings and configuration; data that is there stays."""
    from swift.common.ring import RingBuilder  # type: ignore[import-not-found]

    (root / "devices" / "one").mkdir(parents=True, exist_ok=True)
    (root / "swift.conf").write_text(COMMON, encoding="utf-8")
    names = "authtoken keystoneauth" if keystone else "tempauth"
    kinds = {"proxy": f"catch_errors {names} bulk container_quotas slo server"}
    for number, kind in enumerate(("account", "container", "object"), 1):
        kinds[kind] = "server"
        if not (root / f"{kind}.ring.gz").exists():
            builder = RingBuilder(4, 1, 0)
            builder.add_dev(
                {
                    "region": 1,
                    "zone": 1,
                    "ip": "127.0.0.1",
                    "port": port + number,
                    "device": "one",
                    "weight": 1,
                    "replication_ip": "127.0.0.1",
                    "replication_port": port + number,
                    "meta": "",
                }
            )
            builder.rebalance()
            builder.get_ring().save(str(root / f"{kind}.ring.gz"))
    for number, (kind, pipeline) in enumerate(kinds.items()):
        text = SERVER.format(root=root, port=port + number, kind=kind, pipeline=pipeline)
        if kind == "proxy":
            text += TEMPAUTH.format(token_seconds=token_seconds)
            if keystone:
                text += KEYSTONE.format(keystone=keystone[0], password=keystone[1])
        (root / f"{kind}.conf").write_text(text, encoding="utf-8")


def serve(root: Path, port: int) -> None:
    """Serve until standard input ends."""
    import eventlet  # type: ignore[import-not-found]
    from eventlet import wsgi
    from swift.common.wsgi import SwiftHttpProtocol, loadapp  # type: ignore[import-not-found]

    with (root / "swift.log").open("a", buffering=1) as log:
        for number, kind in enumerate(("proxy", "account", "container", "object")):
            application = loadapp(str(root / f"{kind}.conf"), global_conf={"log_name": kind})
            listening = eventlet.listen(("127.0.0.1", port + number))
            told = {"protocol": SwiftHttpProtocol, "capitalize_response_headers": False}
            eventlet.spawn(wsgi.server, listening, application, log, **told)
        eventlet.sleep(0)
        print("ready", flush=True)
        while True:
            eventlet.sleep(3600)


def end_with_parent() -> None:
    """Watch standard input in a real thread, which stands still while nothing comes."""
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    directory, first_port, life = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3]
    threading.Thread(target=end_with_parent, daemon=True).start()
    from swift.common import utils  # type: ignore[import-not-found]

    utils.eventlet_monkey_patch()
    settle(directory, first_port, life, sys.argv[4:])
    utils.set_swift_dir(str(directory))
    serve(directory, first_port)
