"""Whatever is sent that the description allows or forbids: no 500, and every answer as described.

openapi.py: URL is the service, TOKEN a file with a token, WORK a directory for the run.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", f"{os.environ['URL']}/openapi.json"]
command += ["--checks", checks, "--max-examples", "100", "--seed", "20261125", "--no-color"]
environment = os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")}
ran = subprocess.run(command, capture_output=True, text=True, cwd=os.environ["WORK"], env=environment)
summary = [line.strip() for line in ran.stdout.splitlines() if " generated, " in line or line.startswith("Tested")]
if ran.returncode != 0:
    raise SystemExit(f"FAILED: every answer is as described {ran.stdout[-6000:]}{ran.stderr[-2000:]}")
print(f"ok: every answer is as described: {'; '.join(summary)}")
