"""`drystone admin url-keys`: the keys that signed URLs are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from httpapi.cli.admin.host_verb import Chosen, HostVerbs, host_verb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from httpapi.url_keys import KeptKey

# \b keeps click from wrapping the lines.
EXAMPLES: Final = """
\b
Examples:
  drystone admin url-keys ls --data /srv/images
  drystone admin url-keys add --data /srv/images
  drystone admin url-keys rm 3f2a9c1d5e7b --data /srv/images
"""


@click.group("url-keys", cls=HostVerbs, epilog=EXAMPLES)
def url_keys() -> None:
    """List, add and remove the keys of signed URLs (`drystone url`); it counts at once in all running servers.

    The last one that was added signs, all of them count. To change keys now and then, add one, and remove the older one
    when what it signed has expired. To make all URLs end that a key has signed, remove it: that cannot be undone. The
    first key is made by itself, and so is one when all were removed.
    """


@url_keys.command(short_help="The ids of the keys, the one that signs last.")
@host_verb
def ls(chosen: Chosen) -> None:
    """List the keys: id, when it was made, and what it does. The secrets are in the file alone."""
    from httpapi.cli.output import print_json, print_lines
    from httpapi.url_keys import read

    keys = read(_file(chosen))
    if chosen.json:
        print_json(_documents(keys))
        return
    print_lines((each["id"], each["made"], "signs" if each["signs"] else "counts") for each in _documents(keys))


@url_keys.command(short_help="A new key, which signs from now on.")
@host_verb
def add(chosen: Chosen) -> None:
    """Add a key and print its id. URLs that others have signed stay good."""
    from httpapi.cli.output import print_json
    from httpapi.url_keys import added

    key = added(_file(chosen))
    if chosen.json:
        print_json(_documents([key])[0])
        return
    click.echo(key.key.id.hex())


@url_keys.command(short_help="End all that keys have signed.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@host_verb
def rm(chosen: Chosen, *, keys: tuple[str, ...]) -> None:
    """Remove keys by their ids: every URL and cookie that they signed is refused from now on."""
    from httpapi.cli.output import print_json
    from httpapi.url_keys import removed

    path = _file(chosen)
    unknown = [key for key in dict.fromkeys(keys) if not removed(path, key.lower())]
    if chosen.json:
        print_json([{"id": key} for key in dict.fromkeys(keys) if key not in unknown])
    if unknown:
        raise click.ClickException(f"there is no key {', '.join(unknown)} in {path}: `drystone admin url-keys ls`")


def _file(chosen: Chosen) -> Path:
    from httpapi.url_keys import path_of

    # A directory that has another file in it is no new one, and a first start refuses it.
    if chosen.settings.url_keys_file is None and not (chosen.data / "format").exists():
        raise click.ClickException(f"there is no Drystone data in {chosen.data}: name its directory with --data")
    return path_of(chosen.settings)


def _documents(keys: Sequence[KeptKey]) -> list[dict[str, object]]:
    return [
        {"id": each.key.id.hex(), "made": f"{each.made:%Y-%m-%dT%H:%M:%SZ}", "signs": each is keys[-1]} for each in keys
    ]
