"""As whom schemathesis asks tokenstore, what it cannot guess, and what it must not destroy."""

import itertools
import os

import schemathesis

KEY, KEY_ID = os.environ["INTEROP_KEY"], os.environ["INTEROP_KEY_ID"]
# The provider with a link that is kept, one without a link, and one that there is not.
providers = itertools.cycle(["signed", "basic", "signed", "nowhere"])
NO_KEY = "00000000-0000-4000-8000-000000000000"


@schemathesis.auth()
class ApiKey:
    def get(self, case, context):
        return KEY

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and "provider" in case.path_parameters:
        case.path_parameters["provider"] = next(providers)
        if case.path.endswith("/revoke") and case.path_parameters["provider"] == "signed":
            case.path_parameters["provider"] = "basic"
    if case.method == "DELETE" and str(case.path_parameters.get("id")).lower() == KEY_ID:
        case.path_parameters["id"] = NO_KEY
