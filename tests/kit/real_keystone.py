"""The real Keystone as a process of its own, from `.keystone`, with users and projects by name and their tokens."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.kit.foreign_server import ForeignServer

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = Path(__file__).parent
PYTHON: Final = HERE.parents[1] / ".keystone" / "bin" / "python"
DOMAIN: Final = {"id": "default"}
REGION: Final = "RegionOne"


@dataclass(frozen=True, slots=True)
class Login:
    """A user in one project; ids are Keystone's."""

    name: str
    password: str
    project: str
    user_id: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer of Keystone."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Keystone(ForeignServer):
    """Serves on a free port of loopback from `root` until left, however its parent ends; `root/keystone.log` stays.

    There are the roles `admin`, `member` (each with those below it), `reader` and `service`, and two logins: `admin`,
    and `service`, a user `drystone` of project `service` with the role `service`. More come by `login`. `kill` and
    `start` leave and begin again on the same port and data, `freeze` and `thaw` stand still and go on.
    """

    def __init__(self, root: Path, *, token_seconds: int = 3600) -> None:
        self._root = root
        self._token_seconds = token_seconds
        self._admin_token = ""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v3"

    def __enter__(self) -> Self:
        self.start()
        try:
            answer = self._password_login("admin", "secret", "admin")
            user, project = answer.json["token"]["user"]["id"], answer.json["token"]["project"]["id"]
            self.admin = Login("admin", "secret", "admin", user, project)
            self._admin_token = answer.headers["X-Subject-Token"]
            self.service = self.login("drystone", "service", "service")
        except BaseException:
            self.kill()
            raise
        return self

    def start(self) -> None:
        """Serve; returns when it takes requests."""
        words = (str(self._root), str(self.port), "secret", str(self._token_seconds))
        self.run_until_ready(PYTHON, HERE / "serve_keystone.py", self._root, *words)

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str) -> Reply:
        """One request below /v3, by an admin unless another token is named."""
        sent = {"X-Auth-Token": token or self._admin_token, **{k.replace("_", "-"): v for k, v in headers.items()}}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/v3{path}", payload, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def login(self, name: str, project: str, *roles: str) -> Login:
        """A user with these roles in a project; each is made unless it is there."""
        project_id = self._there("project", project, domain_id="default")
        password = f"{name}'s password"
        user_id = self._there("user", name, domain_id="default", password=password)
        for role in roles:
            path = f"/projects/{project_id}/users/{user_id}/roles/{self._there('role', role)}"
            self._fine(self.call("PUT", path))
        return Login(name, password, project, user_id, project_id)

    def token(self, login: Login, *, scope: object = "project") -> str:
        """A new token; `scope` is the project, or what /auth/tokens takes there, such as `"unscoped"`."""
        wanted = {"project": {"id": login.project_id}} if scope == "project" else scope
        return self._password_login(login.name, login.password, wanted).headers["X-Subject-Token"]

    def short_token(self, login: Login, seconds: float) -> str:
        """A token that ends so soon, as do those of an application credential that does; at the full second."""
        end = datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self.credential_token(self.application_credential(login, f"until {end}", expires_at=end))

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        self._fine(self.call("DELETE", "/auth/tokens", X_Subject_Token=token))

    def application_credential(self, login: Login, name: str, **attributes: object) -> Mapping[str, str]:
        """Its `id` and `secret`; `access_rules` and `roles` are such attributes."""
        body = {"application_credential": {"name": name, **attributes}}
        path = f"/users/{login.user_id}/application_credentials"
        made: Mapping[str, str] = self._fine(self.call("POST", path, body, token=self.token(login))).json[
            "application_credential"
        ]
        return made

    def credential_token(self, credential: Mapping[str, str]) -> str:
        """A token by an application credential."""
        named = {"id": credential["id"], "secret": credential["secret"]}
        methods = {"methods": ["application_credential"], "application_credential": named}
        answer = self._fine(self.call("POST", "/auth/tokens", {"auth": {"identity": methods}}))
        return answer.headers["X-Subject-Token"]

    def endpoint(self, url: str, *, service: str = "image", name: str = "drystone") -> None:
        """Put a service's address into the catalog, in place of the one that was there."""
        service_id = self._there("service", name, type=service)
        for old in self.call("GET", f"/endpoints?service_id={service_id}").json["endpoints"]:
            self._fine(self.call("DELETE", f"/endpoints/{old['id']}"))
        for interface in ("public", "internal", "admin"):
            about = {"interface": interface, "service_id": service_id, "region_id": REGION, "url": url}
            self._fine(self.call("POST", "/endpoints", {"endpoint": about}))

    def variables(self, login: Login) -> dict[str, str]:
        """What the stock clients find in their environment (OS_*) to log in so."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": login.name,
            "OS_PASSWORD": login.password,
            "OS_PROJECT_ID": login.project_id,
            "OS_USER_DOMAIN_ID": "default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def _there(self, kind: str, name: str, **attributes: object) -> str:
        """The id of a project, user, role or service of this name, made if there is none."""
        found = self._fine(self.call("GET", f"/{kind}s?name={name}")).json[f"{kind}s"]
        if not found:
            found = [self._fine(self.call("POST", f"/{kind}s", {kind: {"name": name, **attributes}})).json[kind]]
        return str(found[0]["id"])

    def _password_login(self, name: str, password: str, scope: object) -> Reply:
        if isinstance(scope, str) and scope != "unscoped":
            scope = {"project": {"name": scope, "domain": DOMAIN}}
        user = {"name": name, "domain": DOMAIN, "password": password}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
        return self._fine(self.call("POST", "/auth/tokens", {"auth": auth}))

    @staticmethod
    def _fine(reply: Reply) -> Reply:
        assert reply.status < 300, f"{reply.status}: {reply.body!r}"
        return reply
