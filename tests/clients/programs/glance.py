"""Every operation on images that python-glanceclient has as a library. Run as `sdk.py` is."""
# mypy: ignore-errors

import hashlib
import io
import os
import sys

from glanceclient import Client, exc
from keystoneauth1 import http_basic, noauth, session
from keystoneauth1.identity import v3
from refusals import refused

RAW = {"disk_format": "raw", "container_format": "bare"}
PROPERTIES = {"hw:a.b": "x y", "trait:HW_CPU": "required", "empty": "", "ü": "ä=&?/~1~0", "os_distro": "debian"}


def connected(user=None, password=None):
    if KEYSTONE:
        project = os.environ[f"PROJECT_OF_{user.upper()}"]
        login = v3.Password(KEYSTONE, username=user, password=password, user_domain_id="default", project_id=project)
        # As Nova and Cinder make theirs: the catalog has the endpoint.
        return Client("2", session=session.Session(auth=login), region_name="RegionOne")
    auth = (
        noauth.NoAuth(endpoint=ENDPOINT)
        if user is None
        else http_basic.HTTPBasicAuth(endpoint=ENDPOINT, username=user, password=password)
    )
    # It adds the version itself.
    return Client("2", endpoint=ENDPOINT, session=session.Session(auth=auth))


def upload_and_download(glance):
    data = open(PATH, "rb").read()
    made = glance.images.create(name="disk", tags=["a", "b c"], **RAW, **PROPERTIES)
    assert made.status == "queued"
    assert {name: made[name] for name in PROPERTIES} == PROPERTIES
    assert glance.images.data(made.id).wrapped is None, "it has no data yet"
    with open(PATH, "rb") as file:
        glance.images.upload(made.id, file, image_size=len(data))
    seen = glance.images.get(made.id)
    assert (seen.status, seen.size, seen.os_hash_value) == ("active", len(data), hashlib.sha512(data).hexdigest())
    # It verifies the hash by itself.
    assert b"".join(glance.images.data(made.id)) == data
    assert b"".join(glance.images.data(made.id, do_checksum=False)) == data
    refused(exc.HTTPConflict, glance.images.upload, made.id, io.BytesIO(b"again"))
    chunked = glance.images.create(name="chunked", **RAW)
    glance.images.upload(chunked.id, io.BytesIO(b"no size is said"))
    assert glance.images.get(chunked.id).size == 15
    glance.images.delete(chunked.id)
    refused(exc.HTTPNotFound, glance.images.delete, chunked.id)
    refused(exc.HTTPNotFound, glance.images.get, chunked.id)
    return seen


def change(glance, made):
    changed = glance.images.update(made.id, name="renamed", min_disk=3, **{"hw:a.b": "z", "is:new": ""})
    assert (changed.name, changed.min_disk, changed["hw:a.b"], changed["is:new"]) == ("renamed", 3, "z", "")
    changed = glance.images.update(made.id, remove_props=["is:new", "ü"])
    assert "is:new" not in changed
    assert "ü" not in changed
    glance.image_tags.update(made.id, "ü")
    glance.image_tags.update(made.id, "plain")
    glance.image_tags.delete(made.id, "plain")
    assert sorted(glance.images.get(made.id).tags) == ["a", "b c", "ü"]
    refused(exc.HTTPNotFound, glance.image_tags.delete, made.id, "never")
    assert glance.images.update(made.id, tags=["a", "b c"]).tags == ["a", "b c"]
    glance.images.update(made.id, protected=True)
    refused(exc.HTTPForbidden, glance.images.delete, made.id)
    glance.images.update(made.id, protected=False, os_hidden=True)
    assert made.id not in {each.id for each in glance.images.list()}
    assert made.id in {each.id for each in glance.images.list(filters={"os_hidden": True})}
    glance.images.update(made.id, os_hidden=False)
    for visibility in ("private", "community", "shared"):
        assert glance.images.update(made.id, visibility=visibility).visibility == visibility
    refused(exc.HTTPForbidden, glance.images.update, made.id, disk_format="qcow2")


def activate(glance, made, admin):
    glance.images.deactivate(made.id)
    assert glance.images.get(made.id).status == "deactivated"
    if glance is not admin:
        refused(exc.HTTPForbidden, glance.images.data, made.id)
    glance.images.reactivate(made.id)
    assert glance.images.get(made.id).status == "active"


def share(glance, made, other, project):
    assert glance.image_members.create(made.id, project).status == "pending"
    refused(exc.HTTPConflict, glance.image_members.create, made.id, project)
    assert [each.member_id for each in glance.image_members.list(made.id)] == [project]
    assert glance.image_members.get(made.id, project).status == "pending"
    for status in ("accepted", "rejected", "accepted"):
        assert other.image_members.update(made.id, project, status).status == status
        listed = made.id in {each.id for each in other.images.list(filters={"member_status": "accepted"})}
        assert listed is (status == "accepted" or other is glance), status
    if other is not glance:
        refused(exc.HTTPForbidden, glance.image_members.update, made.id, project, "pending")
        refused(exc.HTTPForbidden, other.images.delete, made.id)
        assert sum(map(len, other.images.data(made.id))) == made.size
    glance.image_members.delete(made.id, project)
    assert list(glance.image_members.list(made.id)) == []
    if other is not glance:
        refused(exc.HTTPNotFound, other.images.get, made.id)


def lists(glance, made):
    for asked in (
        {"name": "renamed"}, {"tag": ["a", "b c"]}, {"status": "active"}, {"size_min": str(made.size)},
        {"hw:a.b": "z"}, {"empty": ""}, {"visibility": "shared"}, {"owner": made.owner}, {"disk_format": "raw"},
        {"checksum": made.checksum}, {"created_at": "gt:2020-01-01T00:00:00Z"},
    ):  # fmt: skip
        assert made.id in {each.id for each in glance.images.list(filters=asked)}, asked
    for asked in ({"name": "rename"}, {"tag": ["a", "never"]}, {"hw:a.b": "x y"}, {"visibility": "private"}):
        assert made.id not in {each.id for each in glance.images.list(filters=asked)}, asked
    pages = [glance.images.create(name=f"page{n}", tags=["page"], **RAW) for n in range(7)]
    for order in ({"sort_key": "name", "sort_dir": "asc"}, {"sort": "name:asc"}):
        found = [each.name for each in glance.images.list(page_size=2, filters={"tag": ["page"]}, **order)]
        assert found == [f"page{n}" for n in range(7)], (order, found)
    assert len(list(glance.images.list(limit=3, page_size=2, filters={"tag": ["page"]}))) == 3
    for each in pages:
        glance.images.delete(each.id)


def only_read(reader, made):
    assert reader.images.get(made.id).name == made.name
    assert made.id in {each.id for each in reader.images.list()}
    refused(exc.HTTPForbidden, reader.images.data, made.id)
    refused(exc.HTTPForbidden, reader.images.create, name="not mine", **RAW)
    refused(exc.HTTPForbidden, reader.images.update, made.id, name="not mine")
    refused(exc.HTTPForbidden, reader.image_tags.update, made.id, "mine")
    refused(exc.HTTPForbidden, reader.image_members.create, made.id, "mine")
    refused(exc.HTTPForbidden, reader.images.deactivate, made.id)
    refused(exc.HTTPForbidden, reader.images.delete, made.id)


def main():
    logins = list(zip(LOGINS[::2], LOGINS[1::2], strict=True)) or [()]
    glance, other, admin, reader = (connected(*login) for login in (logins * 4)[:4])
    if not LOGINS:
        other = admin = glance
    for name in ("image", "images", "member", "members"):
        assert glance.schemas.get(name).raw()["properties"]
    assert "import-methods" in glance.images.get_import_info()
    made = upload_and_download(glance)
    change(glance, made)
    made = glance.images.get(made.id)
    activate(glance, made, admin)
    share(glance, made, other, os.environ.get("PROJECT_OF_BOB", "shed") if LOGINS else "default2")
    lists(glance, made)
    if LOGINS:
        only_read(reader, made)
        refused(exc.HTTPForbidden, glance.images.update, made.id, visibility="public")
        assert admin.images.update(made.id, visibility="public").visibility == "public"
        refused(exc.HTTPForbidden, other.image_tags.update, made.id, "mine")
    glance.images.delete(made.id)
    refused(exc.HTTPNotFound, glance.images.get, made.id)
    print("ok")


ENDPOINT, PATH, *LOGINS = sys.argv[1:]
KEYSTONE = os.environ.get("OS_AUTH_URL")
main()
