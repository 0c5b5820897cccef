"""Mails to aiosmtpd: encrypted, signed in, each once; also when the server stops and starts again."""

import email
import email.policy
import logging
import os
import ssl
import sys
import threading
import time
import warnings

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from common import check, eventually, request, sign_in

ENCRYPTION = sys.argv[1]
WORK = os.environ["INTEROP_WORK"]
PORT = int(os.environ["INTEROP_SMTP_PORT"])
ADMIN = os.environ["INTEROP_USERNAME"]

# That a client has to sign in though the session is encrypted in another way than it looks for.
warnings.filterwarnings("ignore", module="aiosmtpd")
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

received = []
refuse = threading.Event()
signed_in = []


class Handler:
    async def handle_DATA(self, server, session, envelope):
        if refuse.is_set():
            return "451 4.3.0 not now"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        received.append((encrypted, envelope, message))
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (
        data.login == b"idm" and data.password == os.environ["INTEROP_SMTP_PASSWORD"].encode()
    )
    signed_in.append(right)
    return AuthResult(success=right)


def start():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{WORK}/smtp.pem", f"{WORK}/smtp.key")
    options = {"authenticator": authenticate, "auth_required": True}
    if ENCRYPTION == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options |= {"ssl_context": context, "auth_require_tls": False}
    controller = Controller(Handler(), hostname="localhost", port=PORT, **options)
    controller.start()
    return controller


def ask():
    began = time.monotonic()
    status, _ = request("POST", "/iforgot", form={"username": ADMIN})
    assert status == 200, status
    # Requests that come together are one.
    time.sleep(0.4)
    return time.monotonic() - began - 0.4


def wait_for(count):
    return eventually(lambda: len(received) >= count)


server = start()
ask()
check(f"a mail comes by {ENCRYPTION}", wait_for(1))
encrypted, envelope, message = received[0]
check("its session was encrypted", encrypted)
check("the sender signed in with its password", signed_in and all(signed_in), signed_in)
check("the envelope is ours", envelope.mail_from == "office@example.org" and envelope.rcpt_tos == [ADMIN])
office = [address.addr_spec for name in ("From", "Reply-To") for address in message[name].addresses]
check("From and Reply-To are the administrators'", office == ["office@example.org"] * 2, office)
parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
check("it has a text and an HTML part", set(parts) == {"text/plain", "text/html"}, parts.keys())
link = next(line for line in parts["text/plain"].splitlines() if line.startswith("http"))
check("both have the link", link.startswith(os.environ["INTEROP_URL"] + "/reset?k=") and link in parts["text/html"], link)
status, answer = request("GET", "/status")
check("the status says that mail is well", '"mail":"ok"' in answer, answer)

server.stop()
longest = max(ask() for _ in range(3))
check("a server that is down holds up no request", longest < 2, longest)
server = start()
refuse.set()
ask()
time.sleep(2)
refuse.clear()
check("stopped and started again, it gets all", wait_for(5), len(received))
time.sleep(5)
check("and none twice", len(received) == 5, len(received))
ids = {message["Message-ID"] for _, _, message in received}
check("each is another", len(ids) == 5, ids)

keys = [message.get_body(("plain",)).get_content().split("/reset?k=")[1].split()[0] for _, _, message in received]
good = [key for key in keys if request("GET", f"/reset?k={key}")[0] == 200]
check("of all links the newest can be used", len(good) == 1 and good[0] in keys[1:], len(good))
new = "a new one for " + ENCRYPTION
status, page = request("POST", "/reset", form={"key": good[0], "pass1": new, "pass2": new})
check("it sets a new password", status == 200 and sign_in(ADMIN, new), status)
check("a mail confirms it", wait_for(6) and received[-1][2]["Subject"] == "Your password was changed")
check("it works once", request("POST", "/reset", form={"key": good[0], "pass1": new, "pass2": new})[0] == 410)
server.stop()
