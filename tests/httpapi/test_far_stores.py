"""Stores that are far away, as a `stores_file` says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog.stores.s3 import S3Copies
from catalog.stores.swift import SwiftCopies
from catalog.stores.swift_login import Keystone, TempAuth, by_credential, by_password, of_project
from httpapi.settings import SettingsRefused
from httpapi.stores_file import load_stores

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.store_ports import Store
    from catalog.stores.swift_login import Login

KEYS = 'access_key_env = "THE_NAME"\nsecret_key_env = "THE_SECRET"\n'
S3 = f'[stores.deep]\ntype = "s3"\nbucket = "images"\n{KEYS}'

SWIFT = '[stores.deep]\ntype = "swift"\ncontainer = "images"\nauth_url = "https://k.example/"\n'
USER = 'username = "u"\npassword_env = "THE_SECRET"\n'
PROJECT = 'project = "p"\n'
CREDENTIAL = 'application_credential_id = "i"\napplication_credential_secret_env = "THE_SECRET"\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_NAME", "known-name")
    monkeypatch.setenv("THE_SECRET", "hidden-secret")
    monkeypatch.setenv("LINES", "two\nlines")


def loaded(tmp_path: Path, text: str) -> Store:
    path = tmp_path / "stores.toml"
    path.write_text(text, encoding="utf-8")
    store = load_stores(path).get("deep")
    assert store is not None
    return store


@pytest.mark.parametrize(
    ("more", "told", "place"),
    [
        ("", {"endpoint": "https://s3.us-east-1.amazonaws.com", "region": "us-east-1", "prefix": ""}, "s3://images/"),
        ('region = "eu-north-1"\n', {"endpoint": "https://s3.eu-north-1.amazonaws.com"}, "s3://images/"),
        ('endpoint = "http://127.0.0.1:8333/"\n', {"endpoint": "http://127.0.0.1:8333"}, "s3://images/"),
        ('endpoint = "https://a.example/s3"\nprefix = "/a/b"\n', {"prefix": "a/b/"}, "s3://images/a/b/"),
        ('prefix = ""\ntime_out = "3s"\naddressing = "virtual"\n', {"prefix": ""}, "s3://images/"),
    ],
)
def test_what_an_s3_store_is_told(tmp_path: Path, more: str, told: dict[str, str], place: str) -> None:
    store = loaded(tmp_path, S3 + more)
    assert isinstance(store, S3Copies)
    assert told.items() <= store.info.properties.items()
    url = store.place("image")
    assert url.startswith(f"{place}image-")
    assert store.owns(url)
    assert "hidden-secret" not in repr(vars(store)) + repr(store.info)


@pytest.mark.parametrize(
    ("more", "login"),
    [
        ("auth_version = 1\n" + USER, TempAuth("https://k.example", "u", "hidden-secret")),
        (
            USER + PROJECT + 'region = "R"\ninterface = "internal"\n',
            Keystone(
                "https://k.example/v3",
                by_password("u", "Default", "hidden-secret"),
                of_project("p", "Default"),
                "internal",
                "R",
            ),
        ),
        (
            USER + PROJECT + 'user_domain = "d"\nproject_domain = "e"\n',
            Keystone("https://k.example/v3", by_password("u", "d", "hidden-secret"), of_project("p", "e")),
        ),
        (CREDENTIAL, Keystone("https://k.example/v3", by_credential("i", "hidden-secret"))),
    ],
)
def test_what_a_swift_store_is_told(tmp_path: Path, more: str, login: Login) -> None:
    store = loaded(tmp_path, SWIFT + more)
    assert isinstance(store, SwiftCopies)
    assert store.account._login == login
    assert store.info.properties["container"] == "images"
    url = store.place("image")
    assert url.startswith("swift://deep/images/image-")
    assert store.owns(url)
    assert "hidden-secret" not in repr(login) + repr(store.info)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SWIFT, "username is missing, or an application_credential_id"),
        (SWIFT + USER, "project is missing"),
        (SWIFT + 'username = "u"\nproject = "p"\n', "password_file or password_env must say where its password is"),
        (SWIFT + USER + CREDENTIAL, "password_env, username is a matter of users"),
        (SWIFT + USER + "auth_version = 1\n" + PROJECT, "project is a matter of Keystone"),
        (SWIFT + "auth_version = 2\n", "expected 1 (TempAuth) or 3 (Keystone), not 2"),
        (SWIFT + 'segment_size = "6GiB"\n', "expected at most 5GiB"),
        (SWIFT + 'segment_size = "6KiB"\n', "expected at least 1048576 bytes"),
        (SWIFT.replace('"images"', '"a/b"'), "expected the name of a container"),
        (SWIFT.replace("k.example", "u:hidden-secret@k.example"), "without a name, password or query"),
        (S3.replace("images", "I"), "bucket in [stores.deep]: expected the name of a bucket"),
        (S3.replace('bucket = "images"\n', ""), "[stores.deep] lacks bucket"),
        (S3 + 'endpoint = "ftp://x"\n', "endpoint in [stores.deep]: expected an address such as https://"),
        (S3 + 'endpoint = "https://u:hidden-secret@x"\n', "without a name, password or query"),
        (S3 + 'endpoint = "https://x/?a=hidden-secret"\n', "without a name, password or query"),
        (S3 + 'endpoint = "https://x:99999"\n', "expected an address"),
        (S3 + 'prefix = "a/../b"\n', "prefix in [stores.deep]: expected words"),
        (S3 + 'prefix = "a//b"\n', "prefix in [stores.deep]: expected words"),
        (S3 + 'region = "a b"\n', "region in [stores.deep]: expected the name of a region"),
        (S3 + 'addressing = "host"\n', "expected one of path, virtual"),
        (S3 + 'ca_file = "/none"\n', "ca_file /none has no certificates that can be used"),
        (S3.replace("THE_SECRET", "UNSET"), "secret_key_env names the variable UNSET, which is not set"),
        (S3.replace("THE_SECRET", "LINES"), "must be one line of plain characters"),
        (S3.replace("secret_key_env", "# "), "secret_key_file or secret_key_env must say where its secret key is"),
        (S3 + 'secret_key = "hidden-secret"\n', "secret_key in [stores.deep] is nothing known"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_without_secrets(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsRefused) as caught:
        loaded(tmp_path, text)
    assert sentence in str(caught.value)
    assert "hidden-secret" not in str(caught.value)
