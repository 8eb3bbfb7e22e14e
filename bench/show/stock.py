"""The stock OpenStack clients, from an environment of their own, as a user has them."""

from __future__ import annotations

from bench.places import CLIENTS
from bench.show import client


def openstack(url: str, *arguments: str) -> str:
    """`openstack image …` against a server without logins; what it printed."""
    return client.run(
        [_program("openstack"), "--os-auth-type", "none", "--os-endpoint", f"{url}/v2", "image", *arguments]
    )


def sdk(script: str, url: str, *arguments: str) -> str:
    """Runs a script of Python where openstacksdk is, with the endpoint and `arguments`; what it printed."""
    return client.run([_program("python"), "-W", "ignore", "-c", script, f"{url}/v2", *arguments])


def _program(name: str) -> str:
    stock = CLIENTS / "bin" / name
    if not stock.exists():
        raise RuntimeError(f"{stock} is missing: run `make clients`")
    return str(stock)
