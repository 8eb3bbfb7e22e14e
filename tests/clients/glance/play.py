"""Makes the script's requests of a server and keeps of each answer what can be compared."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tests.clients.glance.steps import labels, root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.clients.glance.steps import Person, Step

HEADERS: Final = (
    "Content-Type", "Location", "Content-Range", "Content-MD5", "Allow", "Accept-Patch",
    "OpenStack-image-import-methods", "OpenStack-image-store-ids",
)  # fmt: skip
"""What clients read, beside the request's id, of which only its being there is compared."""

_SHORT: Final = 40
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?")
_ERROR: Final = {"message", "code", "title"}
_BLANK: Final[dict[str, object]] = {
    "name": None, "status": "queued", "visibility": "shared", "owner": "stone", "protected": False, "os_hidden": False,
    "disk_format": "raw", "container_format": "bare", "min_disk": 0, "min_ram": 0, "size": None, "virtual_size": None,
    "checksum": None, "os_hash_algo": None, "os_hash_value": None, "created_at": "<time>", "updated_at": "<time>",
    "tags": [],
    "self": "/v2/images/ID", "file": "/v2/images/ID/file", "schema": "/v2/schemas/image",
}  # fmt: skip
"""What a new image's record says; of a record only that is kept which is otherwise."""

Kept = dict[str, Any]


def play(port: int, steps: Sequence[Step]) -> list[Kept]:
    """What each step is answered, by a server on this port of this machine that has no images."""
    ids: dict[str, str] = {}
    return [_made(port, step, ids) | {"step": label} for step, label in zip(steps, labels(steps), strict=True)]


def clear(port: int) -> None:
    """Remove all images and definitions, so that the next steps find none."""
    for hidden in ("false", "true"):
        listed = _sent(port, root, "GET", f"/v2/images?visibility=all&limit=1000&os_hidden={hidden}")[2]
        for image in json.loads(listed)["images"]:
            path = f"/v2/images/{image['id']}"
            if image["protected"]:
                change = json.dumps([{"op": "replace", "path": "/protected", "value": False}]).encode()
                kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
                _sent(port, root, "PATCH", path, change, kind)
            _sent(port, root, "DELETE", path)
    listed = _sent(port, root, "GET", "/v2/metadefs/namespaces?limit=1000")[2]
    for namespace in json.loads(listed)["namespaces"]:
        path, name = f"/v2/metadefs/namespaces/{quote(namespace['namespace'])}", namespace["namespace"]
        _sent(port, root, "PUT", path, json.dumps({"namespace": name}).encode(), {"Content-Type": "application/json"})
        _sent(port, root, "DELETE", path)


def _made(port: int, step: Step, ids: dict[str, str]) -> Kept:
    body, headers = step.raw, dict(step.headers)
    if body is None and step.body is not None:
        body = _named(json.dumps(step.body), ids).encode()
        headers.setdefault("Content-Type", "application/json")
    status, answered, received = _sent(port, step.who, step.method, _named(step.path, ids), body, headers)
    if step.keep is not None:
        # A fixed id where none was made, so that what follows goes on with an image that is not there.
        made = json.loads(received).get("id") if status == 201 else None
        ids[step.keep] = made or str(uuid.uuid5(uuid.NAMESPACE_OID, step.keep))
    kept: Kept = {"status": status}
    told = {name: value for name in HEADERS if (value := answered.get(name)) is not None}
    if not received:
        # Of nothing it says nothing.
        told.pop("Content-Type", None)
    kept |= {name: _header(name, value, ids) for name, value in told.items()}
    kept["x-openstack-request-id"] = "x-openstack-request-id" in answered
    if received:
        kept["body"] = _body(received, answered.get("Content-Type", ""), ids, step)
    return kept


def _sent(
    port: int, who: Person, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (_identity(who) | {"Accept": "application/json"} | (headers or {})).items():
            connection.putheader(name, value)
        if "Transfer-Encoding" in (headers or {}):
            # As glanceclient sends an image.
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif body is not None or method in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def _identity(who: Person) -> dict[str, str]:
    """The headers that Keystone's middleware sets for somebody whom it knows."""
    if who.project is None:
        return {}
    told = {
        "X-Identity-Status": "Confirmed", "X-User-Id": who.name, "X-Project-Id": who.project,
        "X-Roles": ",".join(who.roles),
    }  # fmt: skip
    if who.service_roles:
        told |= {"X-Service-Identity-Status": "Confirmed", "X-Service-Roles": ",".join(who.service_roles)}
    return told


def _named(text: str, ids: dict[str, str]) -> str:
    for name, image_id in ids.items():
        text = text.replace(f"{{{name}}}", image_id)
    return text


def _header(name: str, value: str, ids: dict[str, str]) -> str:
    if name == "Location":
        split = urlsplit(value)
        return f"{'http://host' if split.netloc else ''}{_text(split.path, ids)}"
    if name == "Content-Type":
        # All of them are UTF-8, whether they say so or not.
        return value.partition(";")[0].lower()
    if name == "Allow":
        return ", ".join(sorted(each.strip() for each in value.split(",")))
    return _text(value, ids)


def _body(received: bytes, kind: str, ids: dict[str, str], step: Step) -> object:
    if kind.startswith("application/json"):
        document = json.loads(received)
        if isinstance(document, dict) and set(document) == _ERROR:
            # Messages are our own, and what a number is called is Python's matter.
            return {"error": int(document["code"].split()[0])}
        if isinstance(document, dict) and "versions" in document:
            return {"versions": sorted(_version(each, ids) for each in document["versions"])}
        if isinstance(document, dict) and "images" in document and not step.whole:
            document["images"] = [each["id"] for each in document["images"]]
        if isinstance(document, dict) and "namespaces" in document and not step.whole:
            document["namespaces"] = [each["namespace"] for each in document["namespaces"]]
        return _value(document, ids, "schema" if "/schemas/" in step.path or "/info/" in step.path else "")
    if kind.startswith("text/") and len(received) > _SHORT:
        return "<page>" if "html" in kind else "<text>"
    return received.decode() if len(received) <= _SHORT else f"sha256 {hashlib.sha256(received).hexdigest()}"


def _version(told: dict[str, Any], ids: dict[str, str]) -> str:
    return " ".join([told["id"], told["status"], *(_text(link["href"], ids) for link in told["links"])])


def _value(value: object, ids: dict[str, str], key: str) -> object:
    if isinstance(value, str):
        return _text(value, ids)
    if isinstance(value, list):
        listed = [_value(each, ids, "schema" if key.startswith("schema") else "") for each in value]
        words = key == "tags" and all(isinstance(each, str) for each in listed)
        return sorted(listed, key=str) if words or key == "schema.enum" else listed
    if isinstance(value, dict) and value.get("schema") == _BLANK["schema"]:
        return _unlike_blank({name: _value(each, ids, name) for name, each in value.items()})
    if isinstance(value, dict):
        begin = "schema." if key.startswith("schema") else ""
        # Descriptions are our own words.
        told = {
            name: each
            for name, each in value.items()
            if not (begin and name == "description" and isinstance(each, str))
        }
        return {name: _value(each, ids, f"{begin}{name}") for name, each in told.items()}
    return value


def _unlike_blank(record: Kept) -> Kept:
    image_id = str(record["id"])
    plain = record | {name: str(record.get(name)).replace(image_id, "ID") for name in ("self", "file")}
    missing = {name: "<missing>" for name in _BLANK if name not in record}
    return (
        {"IMAGE": image_id}
        | missing
        | {name: each for name, each in plain.items() if name != "id" and each != _BLANK.get(name, _BLANK)}
    )


def _text(text: str, ids: dict[str, str]) -> str:
    for name, image_id in ids.items():
        text = text.replace(image_id, f"{{{name}}}")
    text = _TIME.sub("<time>", _UUID.sub("<uuid>", text))
    if text.startswith("/v2/") and "?" in text:
        path, _, query = text.partition("?")
        return f"{path}?{urlencode(sorted(parse_qsl(query, keep_blank_values=True)), safe='{}<>:,')}"
    # Where the server that was asked stands.
    return re.sub(r"http://(127\.0\.0\.1|localhost):\d+", "http://host", text)
