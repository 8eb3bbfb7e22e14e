"""clouds.yaml: which entries are a way in, and what is said of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from httpapi.client.auth import Login
from httpapi.client.auth_clouds import cloud_access
from httpapi.client.errors import AccessRefused

if TYPE_CHECKING:
    from pathlib import Path

CLOUDS = """
clouds:
  open:
    auth_type: none
    image_endpoint_override: http://images.example:9292/v2
  lab:
    auth_type: http_basic
    auth: {username: alice, password: 12345, endpoint: "https://lab.example"}
    cacert: /etc/lab.pem
  split:
    auth_type: http_basic
    auth: {username: alice, endpoint: "https://lab.example"}
  keystone:
    auth: {auth_url: "https://keystone.example/v3", username: a, password: hidden-one}
  token:
    auth_type: v3token
  kerberos:
    auth_type: v3kerberos
  nowhere: {auth_type: none}
  unchecked: {auth_type: none, image_endpoint_override: "https://x", verify: false}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    return tmp_path


def test_entries_without_keystone_are_a_way_in(here: Path) -> None:
    found = cloud_access("open", [here])
    assert (found.endpoint, found.login, found.cacert) == ("http://images.example:9292/v2", None, None)
    lab = cloud_access("lab", [here / "none", here])
    assert (lab.endpoint, lab.login, str(lab.cacert)) == (
        "https://lab.example",
        Login("alice", "12345"),
        "/etc/lab.pem",
    )
    assert lab.source == f"the cloud 'lab' in {here / 'clouds.yaml'}"
    assert "12345" not in repr(lab)


def test_what_the_secure_file_says_is_laid_over(here: Path) -> None:
    (here / "secure.yaml").write_text("clouds: {split: {auth: {password: s3}}}")
    assert cloud_access("split", [here]).login == Login("alice", "s3")


def test_a_file_that_is_named_goes_before_the_directories(here: Path, tmp_path: Path) -> None:
    named = tmp_path / "other.yaml"
    named.write_text("clouds: {open: {auth_type: none, auth: {endpoint: 'http://named'}}}")
    assert cloud_access("open", [here], file=named).endpoint == "http://named"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("keystone", "names no project"),
        ("token", "lacks token"),
        ("kerberos", "wants 'v3kerberos', which this client cannot do: password, v3password"),
        ("split", "lacks auth.username or auth.password"),
        ("nowhere", "names no address"),
        ("unchecked", "name the file of the authority as cacert"),
        ("none", "has no cloud 'none': its clouds are kerberos, keystone, lab, nowhere, open"),
    ],
)
def test_other_entries_are_refused_with_what_would_work(here: Path, name: str, said: str) -> None:
    with pytest.raises(AccessRefused) as caught:
        cloud_access(name, [here])
    assert said in str(caught.value)
    assert "hidden-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clouds: [", "line 1 is not YAML"),
        ("clouds:\n  a:\n  password: x: secret-one", "line 3 is not YAML"),
        ("- a", "is no file of clouds"),
        ("clouds: {lab: 3}", "is no file of clouds"),
        ("clouds: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("", "its clouds are none"),
    ],
)
def test_a_file_that_is_none_is_refused_and_not_quoted(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "clouds.yml").write_text(text)
    with pytest.raises(AccessRefused) as caught:
        cloud_access("lab", [tmp_path])
    assert said in str(caught.value)
    assert "secret-one" not in str(caught.value)


def test_without_any_file_the_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(AccessRefused, match=r"there is no clouds\.yaml in any of"):
        cloud_access("lab", [tmp_path])
