from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ssl
from httpapi.client.quick_loading import load_aiohttp
load_aiohttp()
import aiohttp.connector
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode)
context = ssl.create_default_context()
print("set_default_verify_paths" in vars(ssl.SSLContext), context.cert_store_stats() == expected())
"""


def test_what_aiohttp_makes_for_itself_trusts_nobody_and_ours_is_as_ever() -> None:
    before = "import ssl\nkept = ssl.create_default_context().cert_store_stats()\nexpected = lambda: kept\n"
    done = subprocess.run([sys.executable, "-c", before + PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0 2", "False True"]


def test_what_a_push_of_an_unchanged_file_needs_is_loaded_without_what_is_heavy() -> None:
    heavy = "{'numpy', 'aiohttp', 'asyncio', 'rich', 'httpapi.client.api'}"
    program = (
        "import sys, httpapi.cli.push, httpapi.cli.endpoint, httpapi.cli.progress, httpapi.client.unchanged_push; "
        f"print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
