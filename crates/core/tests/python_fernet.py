"""Decrypts with Python's cryptography what the services encrypted.

Reads three lines: a key (base64url), a token, and the place to which the token is bound. Writes the plain text.
"""

import hashlib
import sys

from cryptography.fernet import Fernet

key, token, place = (sys.stdin.readline().rstrip("\n") for _ in range(3))
bound = Fernet(key).decrypt(token)
digest = hashlib.sha256(place.encode()).digest()
if not bound.startswith(digest):
    sys.exit("the token is bound to another place")
sys.stdout.buffer.write(bound[len(digest):])
