"""One of several clients that work for a while. Run by the Python of `.clients`: KIND SECONDS NUMBER; OS_* log in.

KIND is `sdk`, `glance` or `openstack`, whose every call logs in anew; the others do so every twenty rounds. Prints JSON
at the end: how many rounds were done, and what went wrong.
"""
# mypy: ignore-errors

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

RAW = {"disk_format": "raw", "container_format": "bare"}
LOGIN_EVERY = 20


def sdk_round(image, name, data):
    made = image.create_image(name, data=data, allow_duplicates=True, tags=["round"], hw_disk_bus="scsi", **RAW)
    assert image.get_image(made.id).hash_value == hashlib.sha512(data).hexdigest()
    assert made.id in {each.id for each in image.images(name=name)}
    image.update_image(image.get_image(made.id), min_disk=1)
    image.add_tag(made.id, "more")
    back = io.BytesIO()
    image.download_image(image.get_image(made.id), output=back)
    assert back.getvalue() == data
    image.delete_image(made.id, ignore_missing=False)


def glance_round(glance, name, data):
    made = glance.images.create(name=name, tags=["round"], **RAW)
    glance.images.upload(made.id, io.BytesIO(data), image_size=len(data))
    assert glance.images.get(made.id).os_hash_value == hashlib.sha512(data).hexdigest()
    assert made.id in {each.id for each in glance.images.list(filters={"name": name})}
    glance.images.update(made.id, min_disk=1)
    assert b"".join(glance.images.data(made.id)) == data
    glance.images.delete(made.id)


def openstack_round(run, name, data):
    file = Path(f"{name}.raw")
    file.write_bytes(data)
    made = json.loads(run("create", "--disk-format", "raw", "--container-format", "bare", "--file", file, name))["id"]
    assert json.loads(run("show", made))["status"] == "active"
    run("delete", made)
    file.unlink()


def sdk():
    import openstack

    return openstack.connect().image


def glance():
    from glanceclient import Client
    from keystoneauth1 import session
    from keystoneauth1.identity import v3

    names = {"auth_url": "OS_AUTH_URL", "username": "OS_USERNAME", "password": "OS_PASSWORD"}
    names |= {"user_domain_id": "OS_USER_DOMAIN_ID", "project_id": "OS_PROJECT_ID"}
    login = v3.Password(**{name: os.environ[variable] for name, variable in names.items()})
    return Client("2", session=session.Session(auth=login), region_name=os.environ["OS_REGION_NAME"])


def openstack_program():
    def run(verb, *words):
        shown = [] if verb == "delete" else ["-f", "json"]
        command = [Path(sys.executable).with_name("openstack"), "image", verb, *shown, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


KINDS = {"sdk": (sdk, sdk_round), "glance": (glance, glance_round), "openstack": (openstack_program, openstack_round)}


def main():
    kind, seconds, number = sys.argv[1:]
    connect, one_round = KINDS[kind]
    dice = random.Random(number)
    end = time.monotonic() + float(seconds)
    rounds, wrong, client = 0, [], None
    while time.monotonic() < end:
        try:
            if rounds % LOGIN_EVERY == 0:
                client = connect()
            one_round(client, f"{kind}-{number}-{rounds}", dice.randbytes(dice.randrange(1, 1 << 20)))
        except Exception as error:
            wrong.append(f"{kind} {number}: {error!r} {getattr(error, 'stderr', '')}"[:500])
            time.sleep(1)
        rounds += 1
    print(json.dumps({"rounds": rounds, "wrong": wrong[:20]}))


main()
