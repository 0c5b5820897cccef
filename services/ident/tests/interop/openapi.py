"""schemathesis asks everything that /openapi.json describes, and is answered as it says."""

import json
import os
import pathlib
import subprocess
import sys

import jwt
import requests

from common import URL, Administrator, answered, end, proof, sign_in

HERE = pathlib.Path(__file__).parent
admin = Administrator()
administrator = jwt.decode(sign_in(), options={"verify_signature": False})["sub"]
services = {"services": {"github": {"id": "1", "access_token": "a secret"}}}
admin.ask("PATCH", f"/{administrator}", 200, services, "application/merge-patch+json")
bran = admin.ask("POST", "/", 201, {"name": "Bran", "email": "bran@example.org"})
client, other_client = (admin.make_client(permissions=["users:read"]) for _ in range(2))
environment = os.environ | {
    "INTEROP_ADMINISTRATOR": administrator,
    "INTEROP_BRAN": str(bran["id"]),
    "INTEROP_CLIENT": client["id"],
    "INTEROP_CLIENT_SECRET": client["client_secret"],
    "INTEROP_OTHER_CLIENT": other_client["id"],
    "PYTHONPATH": str(HERE),
    "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py"),
}


@proof("schemathesis is answered as /openapi.json says, and never with 500")
def _():
    schemathesis = pathlib.Path(sys.executable).with_name("schemathesis")
    command = [schemathesis, "--config-file", HERE / "schemathesis.toml", "run", f"{URL}/openapi.json"]
    subprocess.run(command, check=True, timeout=180, env=environment, cwd=os.environ["INTEROP_WORK"])


@proof("schemathesis has asked as an administrator and as a client all the time")
def _():
    assert len(Administrator().ask("GET", f"/api/users/{administrator}", 200)["permissions"]) == 8
    form = {"grant_type": "client_credentials"}
    answered(requests.post(f"{URL}/oauth2/token", form, auth=(client["id"], client["client_secret"]), timeout=30), 200)


@proof("standardwebhooks has verified every notification of what schemathesis changed")
def _():
    with open(os.environ["INTEROP_RECEIVED"], encoding="utf-8") as file:
        received = [json.loads(line) for line in file]
    assert len(received) > 10, received
    refused = [one for one in received if "message" not in one]
    assert not refused, refused


end()
