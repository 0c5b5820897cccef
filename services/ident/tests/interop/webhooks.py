"""Standard Webhooks' library verifies what ident sends to receiver.py."""

import json
import os
import time

from standardwebhooks import Webhook, WebhookVerificationError

from common import Administrator, end, proof, raises

admin = Administrator()
PERSON = {"name": "Robb Stark ✓", "email": "king@deceased.north", "services": {"github": {"id": "25"}}}


def received(path, count):
    """The first so many notifications to the path, in the order in which they came."""
    deadline = time.monotonic() + 30
    while True:
        found = []
        if os.path.exists(os.environ["INTEROP_RECEIVED"]):
            with open(os.environ["INTEROP_RECEIVED"], encoding="utf-8") as file:
                found = [json.loads(line) for line in file.read().split("\n")[:-1]]
            found = [one for one in found if one["path"] == path]
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count, f"{len(found)} of {count} came: {found}"
            return found
        time.sleep(0.1)


identity = admin.ask("POST", "/", 201, PERSON)["id"]
PATCH = {"name": "Robb"}
admin.ask("PATCH", f"/{identity}", 200, PATCH, "application/merge-patch+json")
admin.ask("DELETE", f"/{identity}", 204)


@proof("standardwebhooks verifies the notifications of a record that was made, changed and deleted")
def _():
    notifications = received(f"/{identity}", 3)
    messages = [one.get("message", one) for one in notifications]
    assert messages == [
        {"type": "urn:glotpod:user:new", "scope": "user+n", "payload": PERSON | {"id": identity}},
        {"type": "urn:glotpod:user:patch", "scope": "user+n", "payload": PATCH},
        {"type": "urn:glotpod:user:delete", "scope": "user+n", "payload": {"id": identity}},
    ], messages
    assert len({one["headers"]["webhook-id"] for one in notifications}) == 3


@proof("standardwebhooks refuses a notification that was changed")
def _():
    one = received(f"/{identity}", 3)[0]
    webhook = Webhook(os.environ["INTEROP_WEBHOOK_SECRET"])
    webhook.verify(one["body"], one["headers"])
    raises(WebhookVerificationError, lambda: webhook.verify(one["body"].replace("Robb", "Bran"), one["headers"]))


end()
