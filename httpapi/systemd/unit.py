"""The unit's text for one configuration: the program, its arguments, and the paths and times that must fit them."""

from __future__ import annotations

import re
import shutil
import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from httpapi.stores_file import directories_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from httpapi.settings import Settings

USUAL_DATA: Final = Path("/var/lib/drystone")
# After the grace: cancelled requests put their images back, and packs are sealed.
_STOP_MARGIN: Final = 15
_HOMES: Final = ("/home", "/root", "/run/user")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]-]+", re.ASCII)


def unit_for(settings: Settings, *, config: Path | None, flags: Mapping[str, object]) -> str:
    """The unit that serves with `config` and `flags`; `settings` is what they come to, its data a real path."""
    data = settings.data.absolute()
    arguments = _arguments(config, {**flags, "data": data})
    program = _program()
    known_to_systemd = data.parent == Path("/var/lib")
    install = f"#   install --directory --owner drystone --group drystone --mode 0700 {_quoted(str(data))}\n"
    homely = any(_is_below(path, home) for path in (data, Path(program[0])) for home in _HOMES)
    return Template(_template()).substitute(
        data=data,
        prepare="" if known_to_systemd else install,
        arguments=" ".join(_quoted(each) for each in arguments),
        manual=resources.files("httpapi").joinpath("README.md"),
        command=" ".join(_quoted(each) for each in (*program, "serve", *arguments)),
        directory="\n".join([_of_data(data, known_to_systemd=known_to_systemd), *_of_others(settings)]),
        grace=f"{settings.shutdown_grace:g}",
        stop_seconds=int(settings.shutdown_grace) + 1 + _STOP_MARGIN,
        watchdog="# No sign of life for so long: it is killed and started again.\nWatchdogSec=60",
        home="read-only" if homely else "yes",
    )


def _of_data(data: Path, *, known_to_systemd: bool) -> str:
    if known_to_systemd:
        return f"StateDirectory={_quoted(data.name)}\nStateDirectoryMode=0700"
    return f"ReadWritePaths={_quoted(str(data))}"


def _of_others(settings: Settings) -> Iterator[str]:
    """Stores, and where jobs work: volumes that may be away when it starts, hence the hyphen."""
    work = [] if settings.work_dir is None else [str(settings.work_dir.absolute())]
    for each in (*directories_of(settings.stores_file), *work):
        yield f"ReadWritePaths={_quoted('-' + each)}"


def _template() -> str:
    return resources.files("httpapi.systemd").joinpath("drystone.service").read_text(encoding="utf-8")


def _program() -> tuple[str, ...]:
    """What the unit starts: the program of this installation."""
    beside = Path(sys.executable).parent / "drystone"
    found = str(beside) if beside.exists() else shutil.which("drystone")
    return (found,) if found else (sys.executable, "-m", "httpapi")


def _arguments(config: Path | None, flags: Mapping[str, object]) -> list[str]:
    words = [] if config is None else ["--config", str(config.absolute())]
    for key, value in flags.items():
        if value is None or value is False:
            continue
        words.append("--" + key.replace("_", "-"))
        if value is not True:
            words.append(str(value.absolute() if isinstance(value, Path) else value))
    return words


def _quoted(word: str) -> str:
    """A word as systemd reads it: % and $ mean themselves, spaces do not end it."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_below(path: Path, folder: str) -> bool:
    return path.is_relative_to(folder)
