"""Which of the many places counts that say where the service is and who asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from httpapi.cli.endpoint import USUAL_ENDPOINT, Asked, credentials_path, find_access
from httpapi.client.auth import Access, Login
from httpapi.client.auth_store import keep_login
from httpapi.client.errors import AccessRefused, ClientError

CLOUD = """
clouds:
  lab: {auth_type: http_basic, auth: {username: cal, password: c, endpoint: "https://cloud.example"}, cacert: /c.pem}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with a stored login and a cloud, and nothing that asks for either."""
    monkeypatch.chdir(tmp_path)
    variables = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    (tmp_path / ".config/openstack").mkdir(parents=True)
    (tmp_path / ".config/openstack/clouds.yaml").write_text(CLOUD)
    keep_login(credentials_path(variables), Access("https://other.example", "", Login("otto", "o")))
    keep_login(credentials_path(variables), Access("https://kept.example", "", Login("kit", "k"), "mine"))
    return variables


EVERYTHING = {
    "DRYSTONE_ENDPOINT": "https://variable.example",
    "DRYSTONE_USER": "vera",
    "DRYSTONE_PASSWORD": "v",
    "OS_CLOUD": "lab",
    "OS_ENDPOINT": "https://openstack.example",
    "OS_AUTH_TYPE": "http_basic",
    "OS_USERNAME": "olga",
    "OS_PASSWORD": "p",
}


def who(access: Access) -> tuple[str, str | None]:
    return access.endpoint, access.login.user if access.login else None


def test_each_place_gives_way_to_the_ones_before_it(home: dict[str, str]) -> None:
    variables = home | EVERYTHING
    assert who(find_access(Asked("https://flag.example"), variables)) == ("https://flag.example", None)
    assert who(find_access(Asked(cloud="lab"), variables)) == ("https://cloud.example", "cal")
    assert who(find_access(Asked(), variables)) == ("https://variable.example", "vera")
    for name in ("DRYSTONE_ENDPOINT", "DRYSTONE_USER", "DRYSTONE_PASSWORD"):
        del variables[name]
    assert who(find_access(Asked(), variables)) == ("https://cloud.example", "cal")
    del variables["OS_CLOUD"]
    assert who(find_access(Asked(), variables)) == ("https://openstack.example", "olga")
    assert who(find_access(Asked(), home)) == ("https://kept.example", "kit")
    credentials_path(home).unlink()
    assert who(find_access(Asked(), home)) == (USUAL_ENDPOINT, None)


def test_a_stored_login_goes_to_its_own_address_only(home: dict[str, str]) -> None:
    assert who(find_access(Asked("https://other.example:443/v2"), home)) == ("https://other.example:443/v2", "otto")
    for endpoint in ("https://stranger.example", "http://other.example", "https://other.example:8443"):
        assert who(find_access(Asked(endpoint), home)) == (endpoint, None)
    assert who(find_access(Asked(), {**home, "DRYSTONE_ENDPOINT": "https://kept.example"}))[1] == "kit"
    assert who(find_access(Asked(), {**home, "OS_ENDPOINT": "https://kept.example"}))[1] is None


def test_a_login_in_variables_goes_to_the_address_beside_it_only(home: dict[str, str]) -> None:
    variables = home | {"DRYSTONE_USER": "vera", "DRYSTONE_PASSWORD": "v"}
    assert who(find_access(Asked("https://flag.example"), variables)) == ("https://flag.example", "vera")
    variables["DRYSTONE_ENDPOINT"] = "https://variable.example/v2"
    assert who(find_access(Asked("https://variable.example:443"), variables))[1] == "vera"
    for endpoint, user in (("https://flag.example", None), ("http://variable.example", None)):
        assert who(find_access(Asked(endpoint), variables)) == (endpoint, user)
    assert who(find_access(Asked("https://other.example"), variables))[1] == "otto"


def test_the_source_can_be_told(home: dict[str, str]) -> None:
    stored = f"the login stored in {credentials_path(home)}"
    assert find_access(Asked(), home).source == stored
    assert find_access(Asked("https://other.example"), home).source == f"--endpoint, with {stored}"
    assert "clouds.yaml" in find_access(Asked(cloud="lab"), home).source


def test_project_certificates_and_insecure_add_to_what_was_found(home: dict[str, str]) -> None:
    found = find_access(Asked(), home)
    assert (found.project, found.cacert, found.insecure) == ("mine", None, False)
    # A project of Keystone, left over from a script, is not sent with a login of another origin.
    assert find_access(Asked(), {**home, "OS_PROJECT_ID": "theirs"}).project == "mine"
    assert find_access(Asked("http://127.0.0.1"), {**home, "OS_PROJECT_ID": "theirs"}).project == "theirs"
    found = find_access(Asked(), {**home, "DRYSTONE_PROJECT": "p", "OS_CACERT": "/o", "DRYSTONE_INSECURE": "yes"})
    assert (found.project, found.cacert, found.insecure) == ("p", Path("/o"), True)
    found = find_access(Asked(cloud="lab"), {**home, "OS_CACERT": "/o"})
    assert found.cacert == Path("/c.pem")
    found = find_access(Asked(cloud="lab", cacert=Path("/f")), {**home, "DRYSTONE_CACERT": "/d"})
    assert found.cacert == Path("/f")
    assert find_access(Asked(cloud="lab"), {**home, "DRYSTONE_CACERT": "/d"}).cacert == Path("/d")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DRYSTONE_USER": "a"}, "belong together"),
        ({"DRYSTONE_ENDPOINT": "http://h", "DRYSTONE_PASSWORD": "hidden"}, "belong together"),
        ({"DRYSTONE_ENDPOINT": "h:1"}, "is no address of a service"),
        ({"OS_CLOUD": "nope"}, "has no cloud 'nope': its clouds are lab"),
        ({"OS_AUTH_URL": "https://keystone/v3"}, "OS_AUTH_URL and its like has auth type password and lacks username"),
        (
            {"OS_AUTH_URL": "https://keystone/v3", "OS_IMAGE_ENDPOINT_OVERRIDE": "https://images.example"},
            "has auth type password and lacks username",
        ),
        ({"OS_AUTH_TYPE": "v3kerberos", "OS_ENDPOINT": "http://h"}, "none and http_basic work"),
        ({"OS_AUTH_TYPE": "v3token", "OS_TOKEN": "hidden", "OS_PROJECT_ID": "p"}, "lacks auth_url"),
        (
            {"OS_AUTH_URL": "http://keys.example", "OS_AUTH_TYPE": "token", "OS_TOKEN": "hidden", "OS_PROJECT_ID": "p"},
            "has no TLS",
        ),
        ({"OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": "http://h"}, "set OS_USERNAME and OS_PASSWORD too"),
    ],
)
def test_what_is_there_and_cannot_be_used_is_no_reason_to_take_the_next(
    home: dict[str, str], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(ClientError) as caught:
        find_access(Asked(), home | variables)
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_two_flags_that_name_two_services_are_refused(home: dict[str, str]) -> None:
    with pytest.raises(AccessRefused, match="give one of them"):
        find_access(Asked("http://h", "lab"), home)


def test_the_configuration_directory_can_be_elsewhere(home: dict[str, str], tmp_path: Path) -> None:
    elsewhere = {**home, "XDG_CONFIG_HOME": str(tmp_path / "x")}
    assert credentials_path(elsewhere) == tmp_path / "x/drystone/credentials.toml"
    assert who(find_access(Asked(), elsewhere)) == (USUAL_ENDPOINT, None)
    (tmp_path / "clouds.yaml").write_text(CLOUD.replace("cal", "local"))
    assert who(find_access(Asked(cloud="lab"), elsewhere))[1] == "local"
