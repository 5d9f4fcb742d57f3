"""Somebody who uses the people's API: logged in by password, by key, or with a browser."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

from tests.support.client_api import PASSWORD, ClientApi, problem
from tests.support.uploading import Answer

V1 = "/vfgateway/v1"


class Person:
    """A user with a script: every request carries name and password."""

    def __init__(self, api: ClientApi, name: str, password: str = PASSWORD) -> None:
        self.api = api
        self.name = name
        self.fields: dict[str, object] = {
            "Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        }

    async def ask(self, method: str, path: str, body: Any = None, query: Any = None, **fields: object) -> Answer:
        """One request; whatever the answer is. A ``body`` that is not bytes goes as JSON."""
        target = V1 + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return await self.api.ask(method, target, data, **(self.fields | fields))

    async def do(self, method: str, path: str, body: Any = None, query: Any = None, status: int = 200) -> Any:
        """One request that must succeed; what it answers."""
        answer = await self.ask(method, path, body, query)
        assert answer.status == status, (answer.status, answer.body)
        return json.loads(answer.body) if answer.body else None

    async def refused(self, status: int, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        """One request that must be refused; the problem."""
        answer = await self.ask(method, path, body, query)
        assert answer.status == status, (answer.status, answer.body)
        return problem(answer)

    async def names(self) -> list[str]:
        """The vfolders that this person sees."""
        return [one["name"] for one in (await self.do("GET", "/vfolders"))["vfolders"]]


class Browser(Person):
    """A user with a browser: a cookie, and the token beside it."""

    def __init__(self, api: ClientApi, name: str) -> None:
        super().__init__(api, name)
        self.fields = {}

    async def log_in(self, password: str = PASSWORD) -> Answer:
        """Fill in the form."""
        answer = await self.ask("POST", "/login", {"name": self.name, "password": password})
        if answer.status == 200:
            self.fields["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
            self.fields["X_CSRF_Token"] = json.loads(answer.body)["csrf_token"]
        return answer
