"""Serves the real Keystone for tests; runs in its own environment, `.keystone`, which has neither us nor pytest.

`python serve_keystone.py DIRECTORY PORT PASSWORD TOKEN_SECONDS` keeps everything in DIRECTORY, where it makes what is
missing: keys, a database, the user `admin`. It prints `ready` once it listens, and ends with its standard input,
however its parent ends.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from pathlib import Path

SETTINGS = """
[DEFAULT]
log_file = {root}/keystone.log
[database]
connection = sqlite:///{root}/keystone.sqlite
[fernet_tokens]
key_repository = {root}/fernet
[fernet_receipts]
key_repository = {root}/fernet
[credential]
key_repository = {root}/credential
[token]
expiration = {token_seconds}
[identity]
# Its usual cost is a quarter of a second a login.
password_hash_algorithm = bcrypt
password_hash_rounds = 4
"""


def settle(root: Path, port: int, password: str, token_seconds: int) -> None:
    """Make the database, the keys and the first user, unless they are there."""
    from keystone.cmd import cli  # type: ignore[import-not-found]

    (root / "keystone.conf").write_text(SETTINGS.format(root=root, token_seconds=token_seconds), encoding="utf-8")
    if (root / "settled").exists():
        return
    url = f"http://127.0.0.1:{port}/v3"
    for name in ("fernet", "credential"):
        (root / name).mkdir(mode=0o700)
    owner = ("--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid()))
    urls = ("--bootstrap-admin-url", url, "--bootstrap-public-url", url, "--bootstrap-internal-url", url)
    for command in (
        ("db_sync",),
        ("fernet_setup", *owner),
        ("credential_setup", *owner),
        ("bootstrap", "--bootstrap-password", password, "--bootstrap-region-id", "RegionOne", *urls),
    ):
        # Each reads its configuration once and for all; loading what it needs takes seconds.
        if (child := os.fork()) == 0:
            cli.main(["keystone-manage", "--config-file", str(root / "keystone.conf"), *command])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, f"{command[0]} has failed, see keystone.log"
    (root / "settled").touch()


def serve(port: int) -> None:
    """Serve until standard input ends."""
    from cheroot import wsgi  # type: ignore[import-not-found]
    from keystone.wsgi.api import application  # type: ignore[import-not-found]

    # One request at a time: two logins at once meet in SQLite, and Keystone answers one of them with 500.
    server = wsgi.Server(("127.0.0.1", port), application, numthreads=1)
    server.prepare()
    print("ready", flush=True)
    threading.Thread(target=server.serve, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    directory = Path(sys.argv[1]).resolve()
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(directory)
    where, first_password, lifetime = int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    # Keystone reads what is left there.
    del sys.argv[1:]
    settle(directory, where, first_password, lifetime)
    serve(where)
