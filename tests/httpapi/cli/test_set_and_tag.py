"""`drystone set` and `drystone tag`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from catalog.model.change import CHANGEABLE
from httpapi.cli.set import set_

if TYPE_CHECKING:
    from tests.httpapi.cli.conftest import Drystone
    from tests.kit.running_server import RunningServer


def shown(server: RunningServer, image_id: str) -> Any:
    return server.call("GET", f"/v2/images/{image_id}").json


def test_set_changes_all_that_is_asked_for_and_prints_the_id(server: RunningServer, drystone: Drystone) -> None:
    image_id = server.new_image(name="old", arch="x86", old="1")
    changes = (
        "--name", "new", "-p", "os/distro=debian", "--property", "empty=", "--property", "eq=a=b", "--remove-property",
        "old", "--visibility", "community", "--protected", "--hidden",
    )  # fmt: skip
    assert drystone("set", "old", *changes) == (0, f"{image_id}\n", "")
    image = shown(server, image_id)
    assert (image["name"], image["os/distro"], image["empty"], image["eq"]) == ("new", "debian", "", "a=b")
    assert (image["visibility"], image["protected"], image["os_hidden"]) == ("community", True, True)
    assert ("old" in image, image["arch"]) == (False, "x86")
    code, out, _ = drystone("set", image_id[:8], "--unprotected", "--visible", "--json")
    assert (code, json.loads(out)) == (0, shown(server, image_id))
    assert shown(server, image_id)["protected"] is False


def test_set_knows_every_attribute_that_can_be_changed(server: RunningServer, drystone: Drystone) -> None:
    image_id = server.new_image(name="disk")
    changes = {"min_disk": 5, "min_ram": 0, "disk_format": "iso", "container_format": "ova", "owner": "lab"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    assert drystone("set", "disk", *options) == (0, f"{image_id}\n", "")
    image = shown(server, image_id)
    assert {name: image[name] for name in changes} == changes
    named = {option.name for option in set_.params}
    assert {*CHANGEABLE} - {"tags", "os_hidden"} <= named
    assert drystone("set", image_id, "--min-disk=-1")[0] == 2


def test_set_does_all_or_nothing_and_says_what_is_wrong(server: RunningServer, drystone: Drystone) -> None:
    image_id = server.new_image(name="disk")
    code, out, err = drystone("set", "disk", "--name", "new", "--remove-property", "none")
    assert (code, out) == (1, "")
    assert err.startswith("drystone: Property none does not exist (HTTP 409")
    assert shown(server, image_id)["name"] == "disk"
    for wrong in ((), ("--property", "os"), ("--property", "=x"), ("--visibility", "some")):
        assert drystone("set", "disk", *wrong)[0] == 2
    assert drystone("set", "nothing", "--protected")[0] == 1


def test_tag_puts_on_takes_off_and_lists(server: RunningServer, drystone: Drystone) -> None:
    image_id = server.new_image(name="disk", tags=["nightly", "q"])
    assert drystone("tag", "disk") == (0, "nightly\nq\n", "")
    assert drystone("tag", "disk", "+tested", "-nightly", "+a/b c") == (0, "a/b c\nq\ntested\n", "")
    assert drystone("tag", "disk", "--remove", "q", "--add=-x", "-quick")[0] == 1
    assert shown(server, image_id)["tags"] == ["-x", "a/b c", "tested"]
    assert drystone("tag", "-q", "disk", "--remove=-x") == (0, f"{image_id}\n", "")
    assert json.loads(drystone("tag", "disk", "--json")[1])["tags"] == ["a/b c", "tested"]


def test_what_follows_an_option_is_a_tag_as_it_stands(server: RunningServer, drystone: Drystone) -> None:
    server.new_image(name="disk", tags=["old"])
    assert drystone("tag", "disk", "--add", "-x", "--add", "--add", "-old", "--add", "+y") == (0, "+y\n--add\n-x\n", "")
    assert drystone("tag", "disk", "--remove", "-x", "--remove", "--add", "+z") == (0, "+y\nz\n", "")


@pytest.mark.parametrize("wrong", [("-gone",), ("+" + "t" * 256,)])
def test_tag_fails_at_what_cannot_be(server: RunningServer, drystone: Drystone, wrong: tuple[str, ...]) -> None:
    server.new_image(name="disk")
    code, out, err = drystone("tag", "disk", *wrong)
    assert (code, out) == (1, "")
    assert err.startswith("drystone: ")
    assert drystone("tag", "disk", "plain")[0] == 2
