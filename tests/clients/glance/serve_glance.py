"""Serves the real Glance, for the comparison; runs in its own environment, `.glance`, which has neither us nor pytest.

`python serve_glance.py DIRECTORY PORT` keeps everything in DIRECTORY and prints `ready` once it listens. Set up as we
are: one store, no ways of import, and callers as Keystone's middleware would tell them: it stands in no pipeline here,
and so the headers that it would have set are those of the request.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """
[DEFAULT]
debug = false
log_file = {root}/glance.log
node_staging_uri = file://{root}/staging
enabled_import_methods = []
[database]
connection = sqlite:///{root}/glance.sqlite
[glance_store]
stores = file
default_store = file
filesystem_store_datadir = {root}/images
[paste_deploy]
flavor = keystone
config_file = {root}/glance-api-paste.ini
[oslo_policy]
policy_file = {root}/policy.yaml
"""
# The extra properties that packages of Glance let it know, with what it checks of them.
ID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
KNOWN = {name: {"type": ["null", "string"], "pattern": ID} for name in ("kernel_id", "ramdisk_id")} | {
    name: {"type": "string"} for name in ("instance_uuid", "architecture", "os_distro", "os_version", "description")
}


def settle(root: Path) -> None:
    """Write the configuration and make the database."""
    for name in ("staging", "images"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "glance-api.conf").write_text(SETTINGS.format(root=root), encoding="utf-8")
    (root / "schema-image.json").write_text(json.dumps(KNOWN), encoding="utf-8")
    (root / "policy.yaml").write_text("{}\n", encoding="utf-8")
    installed = Path(sys.prefix) / "etc" / "glance" / "glance-api-paste.ini"
    pipelines = installed.read_text(encoding="utf-8").replace(" authtoken context", " context")
    (root / "glance-api-paste.ini").write_text(pipelines, encoding="utf-8")
    manage = str(Path(sys.executable).with_name("glance-manage"))
    command = [manage, "--config-file", str(root / "glance-api.conf"), "db_sync"]
    subprocess.run(command, check=True, capture_output=True)


def serve(root: Path, port: int) -> None:
    """Serve until killed."""
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(root)
    # Known to this environment alone.
    from cheroot import wsgi  # type: ignore[import-not-found]
    from glance.common import wsgi_app  # type: ignore[import-not-found]

    server = wsgi.Server(("127.0.0.1", port), wsgi_app.init_app(), numthreads=2)
    server.prepare()
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    directory = Path(sys.argv[1]).resolve()
    settle(directory)
    serve(directory, int(sys.argv[2]))
