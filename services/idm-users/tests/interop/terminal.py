"""`idm-users create-users` and passwords on a real terminal (pty)."""

import os
import pty
import select
import time

from common import check, request, sign_in

BINARY = os.environ["INTEROP_BINARY"]
WORK = os.environ["INTEROP_WORK"]
ADMIN = "terminal@example.org"
PASSWORD = "spoken to a terminal"


def run(arguments, answers):
    """Runs the program on a terminal, answers its prompts, and gives what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BINARY, [BINARY, *arguments], {"PATH": os.environ["PATH"], "TERM": "xterm"})
    shown, waiting = "", list(answers)
    end = time.monotonic() + 60
    searched = 0
    while time.monotonic() < end:
        if waiting and (at := shown.find(waiting[0][0], searched)) >= 0:
            searched = at + len(waiting[0][0])
            # rpassword turns the echo off before it prompts; a moment for a slow machine.
            time.sleep(0.2)
            os.write(terminal, (waiting.pop(0)[1] + "\n").encode())
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data.decode()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown


config = ["--config", f"{WORK}/idm-users.toml"]
status, shown = run([*config, "users", "create", "--username", ADMIN, "--admin"], [("Password: ", PASSWORD)])
check("an operator makes an administrator on a terminal", status == 0 and sign_in(ADMIN, PASSWORD), shown)
check("the password is not shown", PASSWORD not in shown, shown)

new = "another one for mei"
status, shown = run(
    ["create-users"],
    [
        ("Host: ", os.environ["INTEROP_URL"]),
        ("Administrator: ", ADMIN),
        ("Password: ", PASSWORD),
        ("New user", "mei@example.org"),
        ("Their password: ", new),
        ("again: ", "something else"),
        ("New user", "mei@example.org"),
        ("Their password: ", new),
        ("again: ", new),
        ("[y/N] ", "n"),
        ("New user", "boss@example.org"),
        ("Their password: ", new),
        ("again: ", new),
        ("[y/N] ", "y"),
        ("New user", "mei@example.org"),
        ("Their password: ", new),
        ("again: ", new),
        ("[y/N] ", "n"),
        ("New user", ""),
    ],
)
check("create-users makes users one by one", status == 0 and "mei@example.org: made" in shown, shown)
check("passwords that differ make nobody", "do not match" in shown)
check("a name that is taken is told", "mei@example.org: refused" in shown)
check("no password is shown", new not in shown and PASSWORD not in shown, shown)
boss = sign_in("boss@example.org", new)
check("who is to be an administrator is one", boss and request("GET", "/user/mei@example.org", token=boss)[0] == 200)
mei = sign_in("mei@example.org", new)
check("and who is not is none", mei and request("GET", "/user/boss@example.org", token=mei)[0] == 403)

csv = f"{WORK}/users.csv"
with open(csv, "w", encoding="utf-8") as file:
    file.write("username,password\n" + "".join(f"user{number}@example.org,{new}\n" for number in range(20)))
status, shown = run(
    ["create-users", "--host", os.environ["INTEROP_URL"], "--username", ADMIN, "--csv", csv], [("Password: ", PASSWORD)]
)
check("a CSV file shows a bar that moves", status == 0 and "/20 users" in shown, shown)
check("and a line for each user", all(f"user{number}@example.org: made" in shown for number in range(20)), shown)
check("and the sum", "20 of 20 users were made" in shown, shown)
