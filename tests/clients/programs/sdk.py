"""Every operation on images that openstacksdk has. Run by the Python of `.clients`: ENDPOINT FILE [USER PASSWORD ...].

Without users the server's identity is `none`; with some, they are alice, bob (another project), root, an admin, and
rita, a reader of alice's project. With OS_AUTH_URL they log in there, and Keystone tells the endpoint; PROJECT_OF_…
are the ids of their projects then.
"""
# mypy: ignore-errors

import hashlib
import io
import os
import sys
from datetime import UTC, datetime, timedelta

import openstack
from refusals import refused

RAW = {"disk_format": "raw", "container_format": "bare"}
PROPERTIES = {"hw:a.b": "x y", "trait:HW_CPU": "required", "empty": "", "ü": "ä=&?/~1~0"}


def connected(user=None, password=None):
    if user is None:
        return openstack.connect(auth_type="none", image_endpoint_override=ENDPOINT).image
    if KEYSTONE:
        auth = {"auth_url": KEYSTONE, "username": user, "password": password, "user_domain_id": "default"}
        auth["project_id"] = os.environ[f"PROJECT_OF_{user.upper()}"]
        return openstack.connect(auth_type="password", auth=auth, region_name="RegionOne").image
    auth = {"username": user, "password": password, "endpoint": ENDPOINT}
    return openstack.connect(auth_type="http_basic", auth=auth).image


def upload_and_download(image):
    data = open(PATH, "rb").read()
    made = image.create_image(
        "disk", filename=PATH, validate_checksum=True, tags=["a", "b c"], meta=PROPERTIES, os_distro="debian", **RAW
    )
    made = image.get_image(made)
    assert (made.status, made.size, sorted(made.tags)) == ("active", len(data), ["a", "b c"])
    assert made.checksum == hashlib.md5(data).hexdigest()
    assert (made.hash_algo, made.hash_value) == ("sha512", hashlib.sha512(data).hexdigest())
    assert {name: made.properties[name] for name in PROPERTIES} == PROPERTIES
    assert made.os_distro == "debian"
    assert made.properties["owner_specified.openstack.sha256"] == hashlib.sha256(data).hexdigest()
    out = io.BytesIO()
    image.download_image(made, output=out)
    assert out.getvalue() == data
    streamed = image.download_image(made, stream=True)
    assert b"".join(streamed.iter_content(chunk_size=1 << 20)) == data
    # The same name and hashes again: nothing is uploaded.
    assert image.create_image("disk", filename=PATH, validate_checksum=True, **RAW).id == made.id
    from_memory = image.create_image("memory", data=b"some bytes", allow_duplicates=True, **RAW)
    assert image.get_image(from_memory).size == 10
    image.delete_image(from_memory)
    queued = image.create_image("queued", allow_duplicates=True, **RAW)
    assert image.get_image(queued).status == "queued"
    queued.data = b"later"
    queued.upload(image)
    assert image.get_image(queued).status == "active"
    assert queued.upload(image).status_code == 409
    image.delete_image(queued)
    image.delete_image(queued)
    refused(openstack.exceptions.NotFoundException, image.delete_image, queued, ignore_missing=False)
    return made


def change(image, made):
    changed = image.update_image(made, name="renamed", min_disk=3, min_ram=512, os_hidden=False, custom="1")
    assert (changed.name, changed.min_disk, changed.min_ram, changed.properties["custom"]) == ("renamed", 3, 512, "1")
    image.update_image_properties(image.get_image(made.id), **{"hw:a.b": "z", "is:new": ""})
    seen = image.get_image(made.id)
    assert (seen.properties["hw:a.b"], seen.properties["is:new"]) == ("z", "")
    for tag in ("t:1", "ü", "plain"):
        image.add_tag(made, tag)
    image.remove_tag(made, "t:1")
    assert sorted(image.get_image(made.id).tags) == sorted(["a", "b c", "plain", "ü"])
    refused(openstack.exceptions.NotFoundException, image.remove_tag, made, "never")
    image.update_image(image.get_image(made.id), is_protected=True)
    refused(openstack.exceptions.ForbiddenException, image.delete_image, made.id)
    image.update_image(image.get_image(made.id), is_protected=False)
    image.update_image(image.get_image(made.id), is_hidden=True)
    assert made.id not in {each.id for each in image.images()}
    assert made.id in {each.id for each in image.images(is_hidden=True)}
    assert image.find_image("renamed").id == made.id
    image.update_image(image.get_image(made.id), is_hidden=False)
    for visibility in ("private", "community", "shared"):
        assert image.update_image(image.get_image(made.id), visibility=visibility).visibility == visibility
    refused(openstack.exceptions.ForbiddenException, image.update_image, image.get_image(made.id), checksum="0" * 32)


def activate(image, made, admin):
    image.deactivate_image(made)
    image.deactivate_image(made)
    assert image.get_image(made.id).status == "deactivated"
    if image is not admin:
        refused(openstack.exceptions.SDKException, image.download_image, made, output=io.BytesIO())
    image.reactivate_image(made)
    assert image.get_image(made.id).status == "active"


def share(image, made, other, project):
    member = image.add_member(made, member_id=project)
    assert (member.member_id, member.status) == (project, "pending")
    refused(openstack.exceptions.ConflictException, image.add_member, made, member_id=project)
    assert [each.member_id for each in image.members(made)] == [project]
    assert image.get_member(project, made).status == image.find_member(project, made).status == "pending"
    if other is not image:
        refused(openstack.exceptions.ForbiddenException, image.update_member, project, made, status="accepted")
    for status in ("accepted", "rejected", "pending", "accepted"):
        assert other.update_member(project, made.id, status=status).status == status
        listed = made.id in {each.id for each in other.images()}
        assert listed is (status == "accepted" or other is image), status
        assert made.id in {each.id for each in other.images(visibility="shared", member_status="all")}
    if other is not image:
        refused(openstack.exceptions.ForbiddenException, other.delete_image, made.id)
        assert len(other.download_image(made.id, stream=True).content) == made.size
    image.remove_member(project, made)
    assert list(image.members(made)) == []
    if other is not image:
        assert other.find_image(made.id) is None
        refused(openstack.exceptions.NotFoundException, other.get_image, made.id)


def lists(image, made):
    day = timedelta(days=1)
    now = datetime.now(UTC)
    for asked in (
        {"name": "renamed"}, {"id": made.id}, {"tag": ["a", "b c"]}, {"status": "active", "name": "in:renamed,other"},
        {"size_min": made.size, "size_max": made.size},
        {"visibility": "shared"}, {"disk_format": "raw", "container_format": "bare"}, {"owner": made.owner},
        {"created_at": f"gt:{now - day:%Y-%m-%dT%H:%M:%SZ}"}, {"protected": "false"}, {"min_disk": 3},
    ):  # fmt: skip
        assert made.id in {each.id for each in image.images(**asked)}, asked
    for asked in (
        {"name": "rename"}, {"tag": ["a", "never"]}, {"size_min": made.size + 1},
        {"created_at": f"lt:{now - day:%Y-%m-%dT%H:%M:%SZ}"}, {"visibility": "private"}, {"status": "queued"},
    ):  # fmt: skip
        assert made.id not in {each.id for each in image.images(**asked)}, asked
    pages = [image.create_image(f"page{n}", allow_duplicates=True, tags=["page", "x"], **RAW) for n in range(7)]
    for order in ("name:asc", "name:desc", "created_at:asc", "size:desc,name:asc", "status:asc"):
        found = [each.name for each in image.images(limit=2, sort=order, tag=["page", "x"])]
        assert sorted(found) == [f"page{n}" for n in range(7)], (order, found)
    assert [each.name for each in image.images(limit=3, sort_key="name", sort_dir="asc", tag="page")][0] == "page0"
    refused(openstack.exceptions.BadRequestException, lambda: list(image.images(sort="nothing:asc")))
    for each in pages:
        image.delete_image(each)


def only_read(reader, made):
    assert reader.get_image(made.id).name == made.name
    assert made.id in {each.id for each in reader.images()}
    assert reader.get(f"/images/{made.id}/file").status_code == 403
    forbidden = openstack.exceptions.ForbiddenException
    refused(forbidden, reader.create_image, "not mine", allow_duplicates=True, **RAW)
    refused(forbidden, reader.update_image, reader.get_image(made.id), name="not mine")
    refused(forbidden, reader.add_tag, made.id, "mine")
    refused(forbidden, reader.add_member, made, member_id="mine")
    # Refused, and it tells nobody.
    reader.deactivate_image(made.id)
    assert reader.get_image(made.id).status == "active"
    refused(forbidden, reader.delete_image, made.id)


def discover(image):
    for schema in (
        image.get_image_schema(), image.get_images_schema(), image.get_member_schema(), image.get_members_schema()
    ):  # fmt: skip
        assert schema.properties
    assert image.get_import_info().import_methods is not None


def main():
    logins = list(zip(LOGINS[::2], LOGINS[1::2], strict=True)) or [()]
    image, other, admin, reader = (connected(*login) for login in (logins * 4)[:4])
    if not LOGINS:
        other = admin = image
    discover(image)
    made = upload_and_download(image)
    change(image, made)
    made = image.get_image(made.id)
    activate(image, made, admin)
    share(image, made, other, os.environ.get("PROJECT_OF_BOB", "shed") if LOGINS else "default2")
    lists(image, made)
    if LOGINS:
        only_read(reader, made)
        refused(openstack.exceptions.ForbiddenException, image.update_image, made, visibility="public")
        assert admin.update_image(admin.get_image(made.id), visibility="public").visibility == "public"
        assert other.find_image("renamed").id == made.id
        refused(openstack.exceptions.ForbiddenException, other.add_tag, made.id, "mine")
    image.delete_image(made.id)
    assert image.find_image("renamed") is None
    print("ok")


ENDPOINT, PATH, *LOGINS = sys.argv[1:]
KEYSTONE = os.environ.get("OS_AUTH_URL")
main()
