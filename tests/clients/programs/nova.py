"""What Nova does with images, done by its own `nova.image.glance.API`. Run by the Python of `.nova`: nova.conf WORK.

WORK has `disk`, the bytes of a machine's disk, `next`, the same disk later, and `users.json`: by name the token, user,
project and catalog of `member`, the machine's owner, and of `other`. It gets `new-bytes`, what the snapshot cost.
"""
# mypy: ignore-errors

import json
import sys
import urllib.request
from pathlib import Path

import nova.conf
import nova.objects
from nova import context, exception
from nova.image import glance

WORK = Path(sys.argv[2])
RAW = {"disk_format": "raw", "container_format": "bare"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def of(name):
    """The context that the middleware before Nova's API makes of a request by this user."""
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
    """The act ends with this error of Nova's, which its users then read."""
    try:
        act(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{act.__name__} was not refused with {kind.__name__}")


def bytes_of(who, image_id):
    """What a compute host boots from."""
    path = WORK / "downloaded"
    API.download(who, image_id, dest_path=str(path))
    return path.read_bytes()


def create_show_and_download():
    with (WORK / "disk").open("rb") as disk:
        properties = {"hw_disk_bus": "virtio", "os_type": "linux", "mappings": [{"device": "vda"}]}
        sent = {"name": "golden", "min_disk": 1, "properties": properties, **RAW}
        made = API.create(MEMBER, sent, data=disk)
    assert (made["status"], made["size"]) == ("active", (WORK / "disk").stat().st_size)
    shown = API.get(MEMBER, made["id"], include_locations=True)
    assert (shown["name"], shown["min_disk"], shown["is_public"], shown["locations"]) == ("golden", 1, False, [])
    assert shown["properties"]["mappings"] == [{"device": "vda"}]
    # Whatever else were there would become a property of the machine.
    assert shown["properties"].keys() == properties.keys()
    assert bytes_of(MEMBER, made["id"]) == (WORK / "disk").read_bytes()
    assert b"".join(API.download(MEMBER, made["id"])) == (WORK / "disk").read_bytes()
    [service] = MEMBER.service_catalog
    assert API.get(MEMBER, f"{service['endpoints'][0]['publicURL']}/v2/images/{made['id']}")["id"] == made["id"]
    assert made["id"] in [each["id"] for each in API.get_all(MEMBER, filters={"property-hw_disk_bus": "virtio"})]
    assert made["id"] in [each["id"] for each in API.get_all(MEMBER, filters={"changes-since": "2020-01-01T00:00:00Z"})]
    return made["id"]


def snapshot(base):
    """As of a running machine: a record first, then, from the compute host, what it is and its bytes."""
    properties = {
        "base_image_ref": base, "image_type": "snapshot", "instance_uuid": UNKNOWN, "user_id": MEMBER.user_id,
        "owner_id": MEMBER.project_id, "image_location": "snapshot", "image_state": "available",
    }  # fmt: skip
    made = API.create(MEMBER, {"name": "snapshot", "is_public": False, "properties": properties})
    assert made["status"] == "queued"
    refused(exception.ImageUnacceptable, API.download, MEMBER, made["id"], dest_path=str(WORK / "none"))
    told = {"name": "snapshot", "status": "active", "properties": {"image_state": "available", "kernel_id": ""}, **RAW}
    with (WORK / "next").open("rb") as disk:
        API.update(MEMBER, made["id"], told, disk, purge_props=False)
    shown = API.get(MEMBER, made["id"])
    assert shown["status"] == "active"
    assert {name: shown["properties"][name] for name in properties} == properties
    assert bytes_of(MEMBER, made["id"]) == (WORK / "next").read_bytes()
    changed = API.update(MEMBER, made["id"], {"properties": {"os_type": "linux"}}, purge_props=True)
    assert changed["properties"] == {"os_type": "linux"}
    return made["id"]


def new_bytes(image_id):
    """How much of the snapshot this service had not held before; that is no part of the API that Nova knows."""
    [service] = MEMBER.service_catalog
    url = f"{service['endpoints'][0]['publicURL']}/v2/lineage"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-Auth-Token": MEMBER.auth_token})) as answer:
        return {each["id"]: each["changed_size"] for each in json.load(answer)["lineage"]}[image_id]


def of_a_volume():
    """A machine that boots from a volume has an image without bytes, which says where the volume is."""
    volumes = [{"boot_index": 0, "source_type": "snapshot", "snapshot_id": UNKNOWN}]
    sent = {"name": "of a volume", "size": 0, "properties": {"block_device_mapping": volumes, "bdm_v2": True}}
    made = API.create(MEMBER, sent)
    assert (made["status"], made["size"], made["disk_format"]) == ("active", 0, "raw")
    assert API.get(MEMBER, made["id"])["properties"]["block_device_mapping"] == volumes
    API.delete(MEMBER, made["id"])


def shared_with_the_machines_owner():
    """Who snapshots somebody else's machine shares the image with them."""
    made = API.create(MEMBER, {"name": "shared", "properties": {"instance_owner": OTHER.project_id}, **RAW})
    assert API.get(OTHER, made["id"])["name"] == "shared"
    refused(exception.ImageNotAuthorized, API.delete, OTHER, made["id"])
    refused(exception.ImageNotAuthorized, API.update, OTHER, made["id"], {"name": "mine"})
    API.delete(MEMBER, made["id"])


def properties_of_services():
    """A property that services alone set: by Nova for a user, not by the user alone."""
    sent = {"name": "billed", "properties": {"billing_code": "7"}, **RAW}
    made = API.create(MEMBER, sent)
    assert made["properties"] == {"billing_code": "7"}
    CONF.set_override("send_service_user_token", False, "service_user")
    refused(exception.Forbidden, API.create, MEMBER, sent)
    refused(exception.ImageNotAuthorized, API.update, MEMBER, made["id"], {"properties": {"billing_code": "0"}})
    assert API.get(MEMBER, made["id"])["properties"] == {"billing_code": "7"}
    CONF.clear_override("send_service_user_token", "service_user")
    changed = API.update(MEMBER, made["id"], {"properties": {"billing_code": "8"}})
    assert changed["properties"] == {"billing_code": "8"}
    API.delete(MEMBER, made["id"])


def refusals(image_id):
    refused(exception.ImageNotFound, API.get, MEMBER, UNKNOWN)
    refused(exception.ImageNotFound, API.get, OTHER, image_id)
    refused(exception.ImageNotFound, API.download, OTHER, image_id, dest_path=str(WORK / "none"))
    refused(exception.ImageNotFound, API.delete, OTHER, image_id)
    refused(exception.Invalid, API.create, MEMBER, {"name": "x", "min_ram": -1})
    refused(exception.ImageBadRequest, glance.GlanceImageServiceV2().image_import_copy, MEMBER, image_id, ["fast"])
    assert glance.GlanceImageServiceV2()._get_image_create_disk_format_default(MEMBER) == "qcow2"


def delete(*images):
    for image_id in images:
        assert API.delete(MEMBER, image_id) is True
        refused(exception.ImageNotFound, API.get, MEMBER, image_id)


CONF = nova.conf.CONF
CONF([], project="nova", default_config_files=[sys.argv[1]])
nova.objects.register_all()
API = glance.API()
MEMBER, OTHER = of("member"), of("other")

golden = create_show_and_download()
later = snapshot(golden)
of_a_volume()
shared_with_the_machines_owner()
properties_of_services()
refusals(golden)
(WORK / "new-bytes").write_text(str(new_bytes(later)))
delete(golden, later)
print("done")
