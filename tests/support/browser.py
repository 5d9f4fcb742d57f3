"""Somebody who is logged in to a gateway in a process of its own, by a cookie."""

from __future__ import annotations

from typing import Any

import requests

from tests.support.process import ALICE, PATIENCE, Site


class Browser:
    """Logs in when it is made.

    :param user: has Alice's password unless another one is given
    """

    def __init__(self, site: Site, user: str = ALICE[0], password: str = ALICE[1], otp: str | None = None) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._root = f"{site.client_url}/vfgateway/v1"
        login = {"name": user, "password": password} | ({} if otp is None else {"otp": otp})
        answer = self._http.post(f"{self._root}/login", json=login, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        self._http.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    def ask(self, method: str, path: str, body: Any = None, stream: bool = False) -> requests.Response:
        """One request; whatever the answer is."""
        return self._http.request(method, self._root + path, json=body, timeout=PATIENCE, stream=stream)

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """One request; what it answers. Fails if that is not a success."""
        answer = self.ask(method, path, body)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None
