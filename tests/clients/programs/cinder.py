"""What Cinder does with images, done by its own `cinder.image.glance`. Run by the Python of `.nova`: cinder.conf WORK.

WORK is as for `nova.py`.
"""
# mypy: ignore-errors

import io
import json
import sys
from pathlib import Path

from cinder import context, exception, objects
from cinder.common import config  # noqa: F401 - its options
from oslo_config import cfg

objects.register_all()
from cinder.image import glance, image_utils  # noqa: E402, F401 - in this order, they need each other

WORK = Path(sys.argv[2])
RAW = {"disk_format": "raw", "container_format": "bare"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def of(name):
    """The context that the middleware before Cinder's API makes of a request by this user."""
    user = json.loads((WORK / "users.json").read_text())[name]
    return context.RequestContext(
        user_id=user["user"],
        project_id=user["project"],
        auth_token=user["token"],
        roles=user["roles"],
        service_catalog=user["catalog"],
        is_admin=False,
    )


def refused(kind, act, *arguments, **named):
    """The act ends with this error of Cinder's."""
    try:
        act(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{act.__name__} was not refused with {kind.__name__}")


def bytes_of(who, image_id):
    """What a volume is filled with."""
    found = io.BytesIO()
    SERVICE.download(who, image_id, found)
    return found.getvalue()


def volume_to_image(name, path, base=None):
    """A volume uploaded as an image: a record, then its bytes, naming the image that the volume was made from."""
    properties = {"signature_verified": "False", "os_type": "linux"}
    made = SERVICE.create(MEMBER, {"name": name, "visibility": "private", "properties": properties, **RAW})
    assert made["status"] == "queued"
    with path.open("rb") as disk:
        SERVICE.update(MEMBER, made["id"], {}, disk, purge_props=False, base_image_ref=base)
    shown = SERVICE.show(MEMBER, made["id"])
    assert (shown["name"], shown["status"], shown["size"]) == (name, "active", path.stat().st_size)
    assert shown["properties"].items() >= properties.items()
    return made["id"]


def image_to_volume(image_id, path):
    """What Cinder asks before it fills a volume, and the bytes."""
    direct_url, locations = SERVICE.get_location(MEMBER, image_id)
    # A scheme that no driver of volumes knows: the bytes are fetched.
    assert (direct_url, [each["url"].partition(":")[0] for each in locations]) == (None, ["blocks"])
    assert bytes_of(MEMBER, image_id) == path.read_bytes()
    assert b"".join(SERVICE.download(MEMBER, image_id)) == path.read_bytes()
    assert image_id in [each["id"] for each in SERVICE.detail(MEMBER, filters={"status": "active"})]


def changes(image_id):
    """Properties that a volume's image gets and loses."""
    changed = SERVICE.update(MEMBER, image_id, {"properties": {"os_type": "other"}}, purge_props=True)
    assert changed["properties"]["os_type"] == "other"
    assert "signature_verified" not in changed["properties"]


def properties_of_services():
    """A property that services alone set: by Cinder for a user, not by the user alone."""
    sent = {"name": "billed", "properties": {"billing_code": "7"}, **RAW}
    made = SERVICE.create(MEMBER, sent)
    assert made["properties"]["billing_code"] == "7"
    CONF.set_override("send_service_user_token", False, "service_user")
    refused(Exception, SERVICE.create, MEMBER, sent)
    refused(exception.ImageNotAuthorized, SERVICE.update, MEMBER, made["id"], {"properties": {"billing_code": "0"}})
    assert SERVICE.show(MEMBER, made["id"])["properties"]["billing_code"] == "7"
    CONF.clear_override("send_service_user_token", "service_user")
    SERVICE.delete(MEMBER, made["id"])


def refusals(image_id):
    refused(exception.ImageNotFound, SERVICE.show, MEMBER, UNKNOWN)
    refused(exception.ImageNotFound, SERVICE.show, OTHER, image_id)
    refused(exception.ImageNotFound, SERVICE.delete, OTHER, image_id)
    # There is one store, and Cinder asks for more only where its backends name some.
    refused(exception.NotFound, SERVICE.get_stores, MEMBER)


CONF = cfg.CONF
CONF([], project="cinder", default_config_files=[sys.argv[1]])
SERVICE = glance.get_default_image_service()
MEMBER, OTHER = of("member"), of("other")

first = volume_to_image("volume", WORK / "disk")
second = volume_to_image("volume, later", WORK / "next", base=first)
image_to_volume(first, WORK / "disk")
image_to_volume(second, WORK / "next")
changes(first)
properties_of_services()
refusals(first)
for image in (first, second):
    assert SERVICE.delete(MEMBER, image) is True
    refused(exception.ImageNotFound, SERVICE.show, MEMBER, image)
print("done")
