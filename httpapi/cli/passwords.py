"""Passwords at the command line: from the terminal without echo, or from standard input; never from an argument."""

from __future__ import annotations

import sys

import click

# Longer than any password that may be made; a wrong file is not read whole.
_MOST_BYTES = 4096


def ask_password(prompt: str, *, from_stdin: bool, confirm: bool = False) -> str:
    """One password; with `confirm` it is asked for twice, where a person types it.

    ClickException where nobody can be asked.
    """
    if from_stdin:
        return _from_stdin()
    if not sys.stdin.isatty():
        raise click.ClickException(
            "there is no terminal to ask for the password: give it on standard input with --password-stdin"
        )
    answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def ask_new_password(name: str, *, from_stdin: bool) -> str:
    """The bcrypt hash of a new password for the user `name`."""
    from httpapi.identity.passwords import PasswordRefused, hash_of

    password = ask_password(f"Password for {name}", from_stdin=from_stdin, confirm=True)
    try:
        return hash_of(password)
    except PasswordRefused as refusal:
        raise click.ClickException(str(refusal)) from refusal


def _from_stdin() -> str:
    raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise click.ClickException(f"standard input holds more than {_MOST_BYTES} bytes: that is no password")
    try:
        password = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as failure:
        raise click.ClickException("the password on standard input is not UTF-8") from failure
    if not password:
        raise click.ClickException("standard input holds no password")
    return password
