"""Takes ident's notifications and verifies each with Standard Webhooks' own library.

receiver.py PORT. Writes one line of JSON for each into the file that INTEROP_RECEIVED names.
"""

import http.server
import json
import os
import sys

from standardwebhooks import Webhook

webhook = Webhook(os.environ["INTEROP_WEBHOOK_SECRET"])


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers.items())
        seen = {"path": self.path, "headers": headers, "body": body.decode("utf-8", "replace")}
        try:
            seen["message"] = webhook.verify(body, headers)
        except Exception as error:
            seen["error"] = repr(error)
        with open(os.environ["INTEROP_RECEIVED"], "a", encoding="utf-8") as file:
            print(json.dumps(seen), file=file)
        self.send_response(204 if "message" in seen else 400)
        self.end_headers()

    def log_message(self, format, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
