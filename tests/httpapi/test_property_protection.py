"""Protected properties over HTTP: no record tells what its reader may not read, and files that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from catalog.model.caller import Caller
from catalog.property_protection import parse_protection
from httpapi.bootstrap import identity_of, open_services
from httpapi.checks import check
from httpapi.cli.root import run
from httpapi.protection_file import protection_of
from httpapi.settings import Settings, SettingsRefused, load
from tests.kit.running_server import RunningServer
from tests.kit.sent_deltas import SentDelta, holes
from tests.kit.two_projects import OCTETS, two_projects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.two_projects import User

PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
OPEN = "[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @\n"
RULES = """[^secret]
create = admin
read = admin
update = admin
delete = admin
[^note]
create = @
read = @
update = member
delete = !
[^owner_specified\\.]
create = @
read = @
update = @
delete = @
"""


def test_no_answer_tells_a_property_that_its_reader_may_not_read(tmp_path: Path) -> None:
    with two_projects(tmp_path, keep_deleted=3600, protection=parse_protection(RULES)) as people:
        root, ann = people.root, people.ann
        made = root.call(
            "POST",
            "/v2/images",
            json_body={"disk_format": "raw", "container_format": "bare", "owner": "stone", "secret": "s", "note": "n"},
        )
        assert (made.status, made.json["secret"]) == (201, "s")
        image_id, path = made.json["id"], f"/v2/images/{made.json['id']}"

        def patch(user: User, *operations: dict[str, object]) -> dict[str, object]:
            answer = user.call("PATCH", path, headers=PATCH, json_body=list(operations))
            assert answer.status == 200, answer.body
            found: dict[str, object] = answer.json
            return found

        delta = SentDelta.begin(ann, 4096, image=image_id, block_size=4096)
        assert delta.put(holes(0)).status == 204
        told = [
            delta.commit().json,
            ann.call("GET", path).json,
            *ann.call("GET", "/v2/images").json["images"],
            patch(ann),
            patch(ann, {"op": "add", "path": "/name", "value": "new"}),
            patch(ann, {"op": "replace", "path": "/note", "value": "other"}),
        ]
        assert ann.call("DELETE", path).status == 204
        told.append(ann.call("POST", f"{path}/actions/undelete").json)
        assert len(told) == 7
        for each in told:
            assert (each["id"], "note" in each, "secret" in each) == (image_id, True, False)
        assert root.call("GET", path).json["secret"] == "s"


def test_what_is_protected_is_403_with_a_name_of_its_own(tmp_path: Path) -> None:
    with two_projects(tmp_path, protection=parse_protection(RULES)) as people:
        ann = people.ann
        for name in ("secret", "unheard_of"):
            answer = ann.call("POST", "/v2/images", json_body={name: "v"})
            assert (answer.status, answer.code) == (403, "protected-property")
            assert answer.json["message"].startswith(f"Attribute '{name}' is reserved")
        image_id = ann.put_image(b"bytes", note="n", **{"owner_specified.openstack.md5": ""})
        for operation, status, code in (
            ({"op": "add", "path": "/secret", "value": "v"}, 403, "protected-property"),
            ({"op": "replace", "path": "/secret", "value": "v"}, 409, "conflict"),
            ({"op": "remove", "path": "/secret"}, 409, "conflict"),
            ({"op": "remove", "path": "/note"}, 403, "protected-property"),
        ):
            answer = ann.call("PATCH", f"/v2/images/{image_id}", headers=PATCH, json_body=[operation])
            assert (answer.status, answer.code) == (status, code)
        assert ann.call("GET", "/v2/images?secret=s").json["images"] == []
        assert ann.call("PUT", f"/v2/images/{ann.new_image()}/file", b"x", OCTETS).status == 204


def test_the_file_is_read_and_the_plan_says_what_protects(tmp_path: Path) -> None:
    file = tmp_path / "protection.conf"
    file.write_text(RULES)
    settings = Settings(data=tmp_path / "data", property_protection_file=file)
    assert len(protection_of(settings).sections) == 3
    checked = check(settings, identity_of)
    assert (checked.problems, checked.plan["properties"]) == ((), "protected by 3 sections of roles")
    assert check(Settings(data=tmp_path / "data"), identity_of).plan["properties"] == "not protected"


def test_rules_of_the_policy_decide_where_the_file_names_them(tmp_path: Path) -> None:
    file, policy = tmp_path / "protection.conf", tmp_path / "policy.yaml"
    file.write_text("[^secret]\ncreate = audit\nread = audit\nupdate = audit\ndelete = audit\n" + OPEN)
    policy.write_text('audit: "role:auditor"\n')
    settings = Settings(
        data=tmp_path / "data", property_protection_file=file, property_protection_rule_format="policies"
    )
    [problem] = check(settings, identity_of).problems
    assert problem.startswith(f"property_protection_file {file}: Rule '^secret:create' refers to 'audit'")
    with pytest.raises(SettingsRefused), open_services(settings):
        pass
    settings = replace(settings, policy_file=policy)
    checked = check(settings, identity_of)
    assert (checked.problems, checked.plan["properties"]) == ((), "protected by 2 sections of policies")
    with open_services(settings) as services:
        auditor = Caller("aud", "stone", frozenset({"member", "auditor"}))
        member = Caller("ann", "stone", frozenset({"member"}))
        with RunningServer(services, caller=auditor) as theirs, RunningServer(services, caller=member) as anns:
            path = f"/v2/images/{theirs.new_image(secret='s', note='n')}"
            assert theirs.call("GET", path).json["secret"] == "s"
            shown = anns.call("GET", path).json
            assert ("secret" in shown, shown["note"]) == (False, "n")
            assert anns.call("POST", "/v2/images", json_body={"secret": "v"}).code == "protected-property"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is not UTF-8"),
        (
            b"[.*]\ncreate = @\n",
            "section [.*] has no line read; ! is nobody and @ everybody. And 2 more: section [.*] has no line update",
        ),
        (b"#" * ((1 << 20) + 1), "is larger than"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem_with_its_name(tmp_path: Path, data: bytes | None, told: str) -> None:
    file = tmp_path / "protection.conf"
    if data is not None:
        file.write_bytes(data)
    settings = Settings(data=tmp_path / "data", property_protection_file=file)
    [problem] = check(settings, identity_of).problems
    assert problem.startswith(f"property_protection_file {file}")
    assert told in problem
    with pytest.raises(SettingsRefused):
        protection_of(settings)


def test_a_start_is_refused_over_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "protection.conf"
    file.write_text(RULES.replace("delete = !", ""))
    monkeypatch.setenv("DRYSTONE_PROPERTY_PROTECTION_FILE", str(file))
    flags = ["--data", str(tmp_path / "data")]
    assert run(["config", "check", *flags]) == 1
    assert "section [^note] has no line delete" in capsys.readouterr().err
    assert run(["serve", *flags]) == 1
    assert "section [^note] has no line delete" in capsys.readouterr().err


def test_the_setting_comes_from_a_file_too(tmp_path: Path) -> None:
    config = tmp_path / "drystone.toml"
    config.write_text('property_protection_file = "/etc/protection.conf"\n')
    found = load(config=config, environment={})
    assert str(found.property_protection_file) == "/etc/protection.conf"
    assert replace(found, property_protection_file=None) == load(environment={})
