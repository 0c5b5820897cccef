"""Whatever is sent that the description allows or forbids: no 500, and every answer as described."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

URL, KEY = os.environ["INTEROP_URL"], os.environ["INTEROP_KEY"]
HERE = pathlib.Path(__file__).parent


def check(claim, holds, detail=""):
    if not holds:
        print(f"FAILED: {claim} {detail}", flush=True)
        sys.exit(1)
    print(f"ok: {claim}", flush=True)


def ask(path):
    asked = urllib.request.Request(URL + path, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


own = [key for key in ask("/api/v1.0/keys") if key["name"] == "interop"]
checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", f"{URL}/openapi.json"]
command += ["--checks", checks, "--max-examples", "50", "--seed", "20261125", "--no-color"]
environment = os.environ | {
    "INTEROP_KEY_ID": own[0]["id"],
    "PYTHONPATH": str(HERE),
    "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py"),
}
ran = subprocess.run(command, capture_output=True, text=True, cwd=os.environ["INTEROP_WORK"], env=environment)
summary = [line.strip() for line in ran.stdout.splitlines() if " generated, " in line or line.startswith("Tested")]
check(f"every answer is as described: {'; '.join(summary)}", ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:])
check("schemathesis has asked as a person all the time", ask("/api/whoami")["id"] == "ada")
links = {link["provider"]: link["status"] for link in ask("/api/v1.0/authorizations")}
check("and has left the link that it must not end", links["signed"] == "active", links)
