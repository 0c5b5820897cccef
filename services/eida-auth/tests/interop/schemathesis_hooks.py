"""What schemathesis cannot guess of eida-auth: a token, whole and changed."""

import itertools
import os

import schemathesis

with open(os.environ["TOKEN"], "rb") as file:
    TOKEN = file.read()
numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method != "POST" or case.path != "/":
        return
    number = next(numbers)
    # Whole, with a byte changed anywhere, cut anywhere, and then whatever schemathesis thinks of.
    at = number * 37 % len(TOKEN)
    bodies = [TOKEN, TOKEN[:at] + bytes([TOKEN[at] ^ 1 << number % 8]) + TOKEN[at + 1 :], TOKEN[:at]]
    if number % 4 < len(bodies):
        case.body = bodies[number % 4]
