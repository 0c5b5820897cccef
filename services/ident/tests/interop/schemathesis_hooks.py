"""As whom schemathesis asks ident, what it cannot guess, and whom it must not destroy."""

import itertools
import os

import requests
import schemathesis

from common import PASSWORD, USERNAME, sign_in

# A person and a client as whom it asks, and those who take their place where it would change or delete them.
ADMINISTRATOR, BRAN = os.environ["INTEROP_ADMINISTRATOR"], os.environ["INTEROP_BRAN"]
CLIENT, OTHER_CLIENT = os.environ["INTEROP_CLIENT"], os.environ["INTEROP_OTHER_CLIENT"]
SECRET = os.environ["INTEROP_CLIENT_SECRET"]
SPARED = {ADMINISTRATOR: BRAN, CLIENT: OTHER_CLIENT}
numbers = itertools.count(1)
# These two end the token that they are sent.
ENDING = ["/auth/logout", "/auth/refresh"]
OAUTH = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"]


class Token:
    def get(self, case, context):
        return sign_in()

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().skip_for(path=ENDING + OAUTH)
class KeptToken(Token):
    pass


@schemathesis.auth(refresh_interval=None).apply_to(path=ENDING)
class FreshToken(Token):
    pass


# Here it is a client that asks.
schemathesis.auth.set_from_requests(requests.auth.HTTPBasicAuth(CLIENT, SECRET)).apply_to(path=OAUTH)


# Members that the request must have to be granted.
GRANTED = {
    "/auth/login": {"username": USERNAME, "password": PASSWORD},
    "/auth/token": {"client_id": CLIENT, "client_secret": SECRET, "signature": None},
    "/oauth2/token": {"grant_type": "client_credentials"},
    "/oauth2/introspect": {"token": sign_in()},
    "/oauth2/revoke": {"token": sign_in()},
}


@schemathesis.hook
def before_call(context, case, kwargs):
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and case.method == "POST" and case.path in GRANTED and isinstance(case.body, dict):
        case.body |= GRANTED[case.path]
    if is_valid and case.method == "POST" and case.path == "/api/users":
        # The example of the document can be made once.
        name = f"person{next(numbers)}"
        case.body |= {"username": name, "email": f"{name}@example.org"}
    if is_valid and case.method == "GET" and case.path == "/{id}/services/{service}/token":
        case.path_parameters |= {"id": ADMINISTRATOR, "service": "github"}
    if case.method != "GET" and str(case.path_parameters.get("id")) in SPARED:
        case.path_parameters["id"] = SPARED[str(case.path_parameters["id"])]
