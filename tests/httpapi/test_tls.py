"""TLS: what cannot be used is refused by name, a running server takes a new pair, a broken one changes nothing."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from blockstore.clock import now
from httpapi.settings import SettingsRefused
from httpapi.tls import SOON, Tls, examine
from tests.kit.authority import Authority, Certificate
from tests.kit.serve_process import ROOT, ServeProcess

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def refusal(pair: Certificate) -> str:
    with pytest.raises(SettingsRefused) as caught:
        Tls(pair.certificate, pair.key)
    return str(caught.value)


def shown_at(port: int, authority: Authority) -> str:
    """The name in the certificate that a client is shown."""
    context = ssl.create_default_context(cafile=str(authority.path))
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, context.wrap_socket(plain) as connection:
        told: Any = connection.getpeercert()
        [[(_, name)]] = told["subject"]
        return str(name)


def replace(old: Certificate, new: Certificate) -> None:
    """Put new files in the place of the old ones, as those do who renew certificates."""
    shutil.copyfile(new.key, old.key)
    shutil.copyfile(new.certificate, old.certificate)


def test_a_pair_tells_whom_it_is_for_and_how_long(authority: Authority) -> None:
    pair = authority.sign("images.example.org", days=20)
    found = examine(pair.certificate, pair.key)
    assert found.subject == "images.example.org"
    assert found.names == ("images.example.org",)
    assert timedelta(days=18) < found.ends - now() < timedelta(days=21)
    assert str(found).startswith("images.example.org (images.example.org), valid until 20")
    assert found.refusal(now()) is None
    assert found.warning(now()) is None
    soon = found.warning(found.ends - SOON + timedelta(minutes=1))
    assert soon is not None
    assert "expires in 14 days" in soon


def test_what_cannot_be_used_is_refused_with_its_reason(authority: Authority, tmp_path: Path) -> None:
    pair, other = authority.sign(file="one"), authority.sign(file="two")
    assert "does not belong to the certificate" in refusal(Certificate(pair.certificate, other.key))
    assert "has expired on " in refusal(authority.sign(days=0, file="old"))
    assert "holds no certificate in PEM format" in refusal(Certificate(pair.key, pair.key))
    assert "holds no private key in PEM format" in refusal(Certificate(pair.certificate, pair.certificate))
    assert "cannot be read: No such file" in refusal(Certificate(tmp_path / "none.pem", pair.key))
    assert f"tls_key {tmp_path / 'none.key'}" in refusal(Certificate(pair.certificate, tmp_path / "none.key"))
    whole = pair.key.read_text()
    pair.key.write_text(whole.replace(whole.splitlines()[1], "nonsense"))
    assert "cannot be used for TLS" in refusal(pair)
    other.certificate.write_text("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
    assert "cannot be used for TLS" in refusal(other)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign()
    locked = tmp_path / "locked.key"
    tool = ["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(tool, check=True, capture_output=True)
    assert "is locked with a passphrase" in refusal(Certificate(pair.certificate, locked))


def test_a_new_pair_is_taken_only_when_both_files_are_there_and_fit(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.sign("old.example")
    new = authority.sign("new.example", days=8, file="new")
    tls = Tls(pair.certificate, pair.key)
    with caplog.at_level(logging.INFO, "drystone.tls"):
        tls.read_again()
        assert caplog.messages == []
        shutil.copyfile(new.certificate, pair.certificate)
        tls.read_again()
        tls.read_again()
        assert len(caplog.messages) == 1
        assert "the old ones stay in use" in caplog.messages[0]
        assert tls.certificate.subject == "old.example"
        shutil.copyfile(new.key, pair.key)
        tls.read_again()
    assert tls.certificate.subject == "new.example"
    assert caplog.messages[1].startswith("New TLS certificate: new.example (new.example), valid until ")
    assert re.search(r"new\.example expires in [78] days", caplog.messages[2])


def test_a_new_pair_that_could_not_be_read_is_taken_later_although_its_files_stay_as_they_are(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(_name: str, _flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    pair = authority.sign("old.example")
    tls = Tls(pair.certificate, pair.key)
    replace(pair, authority.sign("new.example", file="new"))
    with monkeypatch.context() as full, caplog.at_level(logging.INFO, "drystone.tls"):
        full.setattr(os, "memfd_create", no_file)
        tls.read_again()
        tls.read_again()
    assert tls.certificate.subject == "old.example"
    assert [message for message in caplog.messages if "Too many open files" in message] == caplog.messages[:1]
    tls.read_again()
    assert tls.certificate.subject == "new.example"


def test_a_running_server_shows_the_new_certificate_and_survives_a_broken_one(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.sign("127.0.0.1")
    variables = {"DRYSTONE_TLS_CERTIFICATE": str(pair.certificate), "DRYSTONE_TLS_KEY": str(pair.key)}
    with ServeProcess(tmp_path / "data", **variables) as server:
        assert " on https://127.0.0.1:" in server.said
        assert shown_at(server.port, authority) == "127.0.0.1"
        pair.key.write_text("half a k")
        server.process.send_signal(signal.SIGHUP)
        assert shown_at(server.port, authority) == "127.0.0.1"
        replace(pair, authority.sign("renewed.example", file="new"))
        # Without a signal too, within seconds.
        while shown_at(server.port, authority) != "renewed.example":
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_old_versions_of_the_protocol_are_refused(authority: Authority) -> None:
    pair = authority.sign()
    assert Tls(pair.certificate, pair.key).context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_command_line_speaks_to_it(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("127.0.0.1")
    variables = {"DRYSTONE_TLS_CERTIFICATE": str(pair.certificate), "DRYSTONE_TLS_KEY": str(pair.key)}
    source = tmp_path / "source"
    source.write_bytes(random.Random(7).randbytes(9_000_001))
    with ServeProcess(tmp_path / "data", **variables) as server:
        url = f"https://127.0.0.1:{server.port}"

        def verb(*words: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "httpapi", "--endpoint", url, "--cacert", str(authority.path), *words]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        pushed = verb("push", str(source), "--name", "disk")
        assert pushed.returncode == 0, pushed.stderr
        pulled = verb("pull", "disk", str(tmp_path / "back"))
        assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_sighup_while_workers_start_does_not_end_the_service(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("127.0.0.1")
    serve = [sys.executable, "-c", "from httpapi.cli.root import main; main()", "serve", "--workers", "2"]
    files = ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
    command = [*serve, *files, "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        while not subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, check=False).stdout:
            assert server.poll() is None
        server.send_signal(signal.SIGHUP)
        assert "Drystone serves" in server.stdout.readline()
        server.terminate()
        assert server.wait() == 0
