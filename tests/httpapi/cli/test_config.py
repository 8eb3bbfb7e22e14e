"""`drystone config`: what it prints, where it sends what, and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from httpapi.cli.root import run
from httpapi.settings import SETTING_NAMES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_setting_is_shown_with_where_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "drystone.toml"
    file.write_text('slab_budget = "128MiB"\nlog_level = "error"\ntrusted_proxies = ["10.0.0.0/8"]\n')
    monkeypatch.setenv("DRYSTONE_LOG_LEVEL", "debug")
    assert run(["config", "check", "--config", str(file), "--listen", "[::1]:8080"]) == 0
    said = capsys.readouterr()
    rows = [line.split("\t") for line in said.out.splitlines()]
    shown = {name: (value, source) for kind, name, value, source in (row for row in rows if row[0] == "setting")}
    assert tuple(shown) == SETTING_NAMES
    assert shown["slab_budget"] == ("128MiB", str(file))
    assert shown["trusted_proxies"] == ("10.0.0.0/8", str(file))
    assert shown["log_level"] == ("debug", "DRYSTONE_LOG_LEVEL")
    assert shown["listen"] == ("[::1]:8080", "--listen")
    assert shown["block_size"] == ("64KiB", "default")
    assert shown["public_url"] == ("unset", "default")
    assert any(row[:2] == ["plan", "conversion"] for row in rows)
    assert ["plan", "listens on", "http://[::1]:8080, from this machine only"] in rows
    assert said.err == ""


def test_every_problem_is_a_sentence_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "drystone.toml"
    file.write_text('blocksize = 1\nlisten = "nowhere"\n')
    monkeypatch.setenv("DRYSTONE_WORKERS", "many")
    assert run(["config", "check", "--config", str(file), "--tls-key", "k", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    starts = [sentence.split(":")[0] for sentence in told["problems"]]
    assert starts == [
        f"blocksize in {file} is no setting",
        f"listen in {file}",
        "workers in DRYSTONE_WORKERS",
        "tls_key is set and tls_certificate is not",
    ]
    assert told["settings"]["listen"] == {"value": "127.0.0.1:9292", "source": "default"}
    assert told["settings"]["identity_roles"]["value"] == ["admin", "member", "reader"]
    assert run(["config", "check", "--config", str(tmp_path / "none.toml")]) == 1
    assert "drystone: The configuration" in capsys.readouterr().err


def test_a_start_is_refused_over_the_same_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", "--tls-key", "k"]) == 1
    [sentence] = capsys.readouterr().err.splitlines()
    assert run(["serve", "--tls-key", "k"]) == 1
    assert capsys.readouterr().err.splitlines() == [sentence]


def test_a_unit_is_printed_for_these_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "systemd", "--data", str(tmp_path / "my data"), "--workers", "4"]) == 0
    said = capsys.readouterr().out
    assert f'serve --data "{tmp_path}/my data" --workers 4\n' in said
    assert f'ReadWritePaths="{tmp_path}/my data"\n' in said
    assert run(["config", "systemd", "--tls-certificate", "cert.pem"]) == 0
    said = capsys.readouterr().out
    assert f"serve --tls-certificate {tmp_path}/cert.pem --data /var/lib/drystone\n" in said
    assert "StateDirectory=drystone\n" in said
