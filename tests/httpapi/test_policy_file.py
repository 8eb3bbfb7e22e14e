"""The operator's policy file: read at the start or refused with all that is wrong, and obeyed by every request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalog.policy import DEFAULTS
from httpapi.bootstrap import identity_of, open_services
from httpapi.checks import check
from httpapi.policy_file import read_policy
from httpapi.settings import Settings, SettingsRefused
from tests.kit.running_server import ADMIN, RunningServer

if TYPE_CHECKING:
    from catalog.usecases.services import Services


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_file_of_yaml_or_json_gives_rules(file: Path) -> None:
    for text in (
        '# none but admins\n"delete_image": \'role:admin\'\n\nget_task: ""\n',
        '{"delete_image": "role:admin", "get_task": ""}',
        "delete_image: role:admin\nget_task: ''\nmanage_image_cache: '@'\n",
    ):
        file.write_text(text)
        assert read_policy(file).rules.changed >= {"delete_image", "get_task"}
    assert read_policy(file).idle == ("manage_image_cache",)
    for text in ("", "# nothing yet\n", "{}"):
        file.write_text(text)
        assert read_policy(file).given == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delete_image: !\n", 'write "" for everybody or "!" for nobody, quoted'),
        ("delete_image:\n", 'write "" for everybody or "!" for nobody, quoted'),
        ("delete_image: @\n", "It is no YAML"),
        ("delete_image: 'role:admin\n", "It is no YAML"),
        ("- delete_image\n", "It is a list of names and rules"),
        ("role:admin\n", "It is a list of names and rules"),
        ("delete_image: '!'\ndelete_image: '@'\n", "stands there twice"),
        ("[a]: b\n", "It is no YAML"),
        ("delete_image: [[role:admin]]\n", "it is no text"),
        ("delete_image: true\n", "it is no text"),
        ("delete_image: !!python/object:os.system x\n", "It is no YAML"),
        ("delete_imag: '!'\n", "Is 'delete_image' meant?"),
        ("delete_image: role:admin and\n", "it ends where a check would stand"),
        ("delete_image: rule:nobody\n", "refers to 'nobody'"),
        ("owners_member: rule:delete_image\n", "Rules refer to themselves"),
        ("delete_image: 'project_id:%(size)s'\n", "looks at %(size)s"),
        ("delete_image: 'shoe_size:7'\n", "callers have no 'shoe_size'"),
        ("a: '['\nget_image: '%'\n", "And 2 more:"),
        ("\xff", "is not UTF-8"),
        ("#" * (1 << 20) + "\n", "is larger than"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_and_refuses_the_start(file: Path, text: str, said: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    settings = Settings(data=file.parent / "data", policy_file=file)
    [problem] = check(settings, identity_of).problems
    assert problem.startswith(f"policy_file {file}")
    assert said in problem
    with pytest.raises(SettingsRefused), open_services(settings):
        pass


def test_a_file_that_is_not_there_refuses_the_start_and_one_that_is_fine_is_in_the_plan(file: Path) -> None:
    settings = Settings(data=file.parent / "data", policy_file=file)
    [problem] = check(settings, identity_of).problems
    assert "No such file" in problem
    file.write_text("delete_image: role:admin\ncache_image: role:admin\n")
    checked = check(settings, identity_of)
    assert checked.problems == ()
    assert checked.plan["policy"] == f"{file}: 2 rules, and the reference's defaults"
    [warning] = checked.warnings
    assert "cache_image rule acts that this service does not have" in warning
    assert check(replace(settings, policy_file=None), identity_of).plan["policy"] == "the reference's default rules"


def test_the_page_names_every_rule_and_its_example_can_be_read(file: Path) -> None:
    page = (Path(__file__).parents[2] / "httpapi" / "README.md").read_text(encoding="utf-8")
    section = page.split("\n## Policy\n")[1].split("\n## ")[0]
    assert [name for name in DEFAULTS if f"`{name}`" not in section] == []
    file.write_text(section.split("```yaml\n")[1].split("```")[0])
    assert read_policy(file).rules.changed == {"download_image", "delete_image", "get_image"}


def test_requests_obey_the_file(services: Services, file: Path) -> None:
    file.write_text("delete_image: '!'\nget_image: \"not 'secret':%(name)s\"\n")
    ruled = replace(services, rules=read_policy(file).rules)
    with RunningServer(ruled, caller=ADMIN) as server:
        shown, hidden = server.new_image(name="shown"), server.new_image(name="secret")
        refused = server.call("DELETE", f"/v2/images/{shown}")
        assert refused.status == 403
        assert refused.json["message"].startswith("You are not permitted to delete image")
        for method in ("GET", "DELETE"):
            assert server.call(method, f"/v2/images/{hidden}").status == 404
        assert [each["id"] for each in server.call("GET", "/v2/images").json["images"]] == [shown]
        assert server.call("GET", f"/v2/images?marker={hidden}").status == 400
