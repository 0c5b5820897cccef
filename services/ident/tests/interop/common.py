"""What the proofs share: where ident is, its administrator, and how a proof is told."""

import os
import sys
import traceback

import requests

URL = os.environ["INTEROP_URL"]
USERNAME = os.environ["INTEROP_USERNAME"]
PASSWORD = os.environ["INTEROP_PASSWORD"]

_failed = []


def proof(text):
    """Runs a function at once: `ok: ` and the text, or what went wrong. The others run all the same."""

    def run(function):
        try:
            function()
        except Exception:
            traceback.print_exc(file=sys.stdout)
            print(f"FAILED: {text}", flush=True)
            _failed.append(text)
        else:
            print(f"ok: {text}", flush=True)
        return function

    return run


def end():
    """Ends the program, with failure if a proof failed."""
    sys.exit(1 if _failed else 0)


def sign_in(audience=None):
    """The administrator's token."""
    body = {"username": USERNAME, "password": PASSWORD}
    if audience is not None:
        body["audience"] = audience
    return answered(requests.post(f"{URL}/auth/login", json=body, timeout=30), 200)["token"]


def answered(answer, status):
    """The document of an answer that has the status."""
    assert answer.status_code == status, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


class Administrator:
    """Asks with the administrator's token."""

    def __init__(self):
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {sign_in()}"

    def ask(self, method, path, status, body=None, content_type="application/json"):
        """The document answered to a request that must be answered with the status."""
        headers = {} if body is None else {"Content-Type": content_type}
        answer = self._session.request(method, URL + path, json=body, headers=headers, timeout=30)
        return answered(answer, status)

    def make_client(self, **members):
        """A machine client as it is answered."""
        return self.ask("POST", "/api/clients", 201, {"name": "interop", **members})


def raises(kinds, function):
    """The exception of one of the kinds that the function must raise."""
    try:
        function()
    except kinds as error:
        return error
    raise AssertionError(f"nothing was raised, not {kinds}")
