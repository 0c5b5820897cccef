"""What the parts share: the service over HTTP, and a line for each thing that is proved."""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["INTEROP_URL"]


def check(claim, holds, detail=""):
    if not holds:
        print(f"FAILED: {claim} {detail}", flush=True)
        sys.exit(1)
    print(f"ok: {claim}", flush=True)


def eventually(question, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    return None


def request(method, path, body=None, form=None, token=None):
    data, headers = None, {}
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    if token:
        headers["Authorization"] = f"JWT {token}"
    asked = urllib.request.Request(URL + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sign_in(username, password):
    status, answer = request("POST", "/auth", body={"username": username, "password": password})
    return json.loads(answer)["access_token"] if status == 200 else None
