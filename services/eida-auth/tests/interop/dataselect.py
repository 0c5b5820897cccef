"""A small dataselect that asks for HTTP Digest of the realm FDSN and compares with what eida-auth stored.

dataselect.py PORT: MSEED (a file) is what queryauth answers; PSQL is how the databases are asked.
"""

import hashlib
import os
import re
import secrets
import shlex
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NONCE = secrets.token_hex(16)


def select(sql):
    output = subprocess.run([*shlex.split(os.environ["PSQL"]), "-c", sql], capture_output=True, text=True, check=True)
    return output.stdout.split()


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def is_known(header, method):
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
    login = fields.get("username", "")
    if not re.fullmatch("[A-Z0-9]{14}", login) or fields.get("nonce") != NONCE or fields.get("realm") != "FDSN":
        return False
    stored = select(
        "SELECT digest FROM credentials JOIN users USING (user_index) JOIN eida_temp_users ON name = login "
        f"WHERE login = '{login}' AND network = 'Z3' AND users.expires_at > now()"
    )
    if len(stored) != 1:
        return False
    second = md5(f"{method}:{fields['uri']}")
    if "qop" in fields:
        expected = md5(":".join([stored[0], NONCE, fields["nc"], fields["cnonce"], fields["qop"], second]))
    else:
        expected = md5(f"{stored[0]}:{NONCE}:{second}")
    return secrets.compare_digest(expected, fields.get("response", ""))


class Dataselect(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if is_known(self.headers.get("Authorization", ""), self.command):
            with open(os.environ["MSEED"], "rb") as file:
                data = file.read()
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.fdsn.mseed")
        else:
            data = b""
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Digest realm="FDSN", nonce="{NONCE}", qop="auth", algorithm=MD5')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = answer
    do_POST = answer

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Dataselect).serve_forever()
