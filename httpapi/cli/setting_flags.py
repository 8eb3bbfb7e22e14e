"""The flags of settings: the same ones for `serve` and for what tells beforehand what `serve` would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Each is the setting of its name: a default of None leaves it to the variables, the file and the defaults.
_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "--config": {"type": click.Path(path_type=Path), "help": "A TOML file of settings (also DRYSTONE_CONFIG)."},
    "--data": {
        "type": click.Path(path_type=Path),
        "help": "The data directory; made if missing.  [default: ./data]",
    },
    "--listen": {
        "metavar": "HOST:PORT",
        "help": "Where to listen; port 0 takes a free one.  [default: 127.0.0.1:9292]",
    },
    "--workers": {
        "type": click.IntRange(1, 64),
        "metavar": "N",
        "help": "Server processes on the one port.  [default: 1]",
    },
    "--public-url": {"metavar": "URL", "help": "The address that clients use, where a proxy stands before this."},
    "--tls-certificate": {"type": click.Path(path_type=Path), "help": "A PEM file with the certificate's chain."},
    "--tls-key": {"type": click.Path(path_type=Path), "help": "The PEM file of its private key."},
    "--identity": {
        "type": click.Choice(["none", "basic", "keystone"]),
        "help": "Who says who is calling.  [default: none]",
    },
    "--identity-file": {
        "type": click.Path(path_type=Path),
        "help": "With identity basic: the file of users, which `drystone user add` makes.",
    },
    "--insecure": {
        "is_flag": True,
        "default": None,
        "help": "Let passwords and tokens cross the network in the clear: no TLS beyond loopback.",
    },
    "--log-level": {
        "type": click.Choice(["debug", "info", "warning", "error"]),
        "help": "How much to log.  [default: info]",
    },
    "--log-format": {
        "type": click.Choice(["text", "json"]),
        "help": "Lines for people, or one object a line.  [default: text]",
    },
}


def setting_flags(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a click command --config and the flags of settings; each setting that was not given is None."""
    for name, options in reversed(_FLAGS.items()):
        command = click.option(name, **options)(command)
    return command
