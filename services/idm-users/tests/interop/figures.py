"""How long lists of 100,000 subjects take over HTTP, against their SQL (docs/testing.md says how it is run)."""

import http.client
import os
import re
import statistics
import subprocess
import time

from common import check, sign_in

COUNT = 100_000
TRIES = 101
PSQL = os.environ["INTEROP_PSQL"].split()
PGBENCH = os.environ["INTEROP_PGBENCH"].split()

# What the service computes when it writes a subject.
FILL = f"""
SET search_path = idm_users;
WITH names AS (
    SELECT n, initcap(f) || ' ' || initcap(l) AS name
    FROM generate_series(1, {COUNT}) n,
         LATERAL (SELECT (ARRAY['anna','ben','cem','dora','emil','fatima','georg','hana','ivan','jana','kofi','lena',
                                'mei','nils','olga','pavel','rosa','sven','tara','uma'])[1 + n % 20] AS f,
                         (ARRAY['meier','tanimoto','okafor','garcia','novak','silva','larsen','rossi','dubois','kaya'])[1 + n / 20 % 10]
                         || substr(md5(n::text), 1, 6) AS l) parts)
INSERT INTO subjects (sssid, name, bday, bday_at, email, date_invited, invited_at, created, changed,
                      sssid_key, name_key, name_grams, name_order, email_order)
SELECT 'SCC-' || lpad(n::text, 7, '0'), name, d::text, d::timestamptz, lower(replace(name, ' ', '.')) || '@example.org',
       CASE WHEN n % 3 > 0 THEN '2026-01-01' END, CASE WHEN n % 3 > 0 THEN timestamptz '2026-01-01Z' END,
       now() - n * interval '1 s', now(), 'scc-' || lpad(n::text, 7, '0'), lower(name),
       ARRAY(SELECT DISTINCT substr(lower(name), i, 3) FROM generate_series(1, length(name) - 2) i),
       lower(name), lower(replace(name, ' ', '.')) || '@example.org'
FROM names, LATERAL (SELECT date '1930-01-01' + n % 25000 AS d) days;
"""

COLUMNS = """sssid, name, bday, bday_at, email, date_invited, invited_at, date_consented, consented_at, date_enrolled,
    enrolled_at, date_withdrawn, withdrawn_at, enrolled_by_hand, withdrawn_by_hand, extra, created, changed"""


def listed(condition, order, offset):
    count = f"SELECT count(*) FROM subjects WHERE {condition}"
    page = f"""SELECT {COLUMNS} FROM (SELECT sssid AS wanted FROM subjects WHERE {condition}
               ORDER BY {order}, sssid LIMIT 50 OFFSET {offset}) page
               JOIN subjects ON sssid = wanted ORDER BY {order}, sssid"""
    return " ".join(f"{count}; {page};".split())


def searched(condition):
    text = f"""WITH found AS MATERIALIZED (SELECT sssid AS wanted, sssid AS place FROM subjects WHERE {condition}),
                    page AS (SELECT * FROM found ORDER BY place, wanted LIMIT 50)
               SELECT {COLUMNS}, counted FROM (SELECT count(*) AS counted FROM found) total
               LEFT JOIN (page JOIN subjects ON sssid = wanted) ON true ORDER BY place, wanted;"""
    return " ".join(text.split())


def by_name(text):
    grams = sorted({text[i : i + 3] for i in range(len(text) - 2)})
    array = "ARRAY[" + ",".join(f"'{gram}'" for gram in grams) + "]"
    found = f"name_grams @> {array} AND strpos(name_key, '{text}') > 0" if grams else f"strpos(name_key, '{text}') > 0"
    return f"(sssid_key LIKE '{text}%' OR bday LIKE '{text}%' OR {found})"


ROWS = [
    ("page 1", "/subject", listed("true", "sssid", 0)),
    ("page 1,000", "/subject?offset=49950", listed("true", "sssid", 49950)),
    ("page 1 by name", "/subject?ordercol=name", listed("true", "name_order", 0)),
    ("page 1,000 by name", "/subject?ordercol=name&offset=49950", listed("true", "name_order", 49950)),
    ("page 1 of a status", "/subject?status=1", listed("status = 1", "sssid", 0)),
    ("search, part of a name, few", "/subject?search=moto9a1", searched(by_name("moto9a1"))),
    ("search, part of a name, 5,000", "/subject?search=mei%20", searched(by_name("mei "))),
    ("search, two letters, 10,000", "/subject?search=me", searched(by_name("me"))),
    ("search, start of an SSSID", "/subject?search=scc-00123", searched(by_name("scc-00123"))),
    ("search, start of a birthday", "/subject?search=1976-04", searched(by_name("1976-04"))),
]


def run_sql(text):
    return subprocess.run([*PSQL, "-c", text], check=True, capture_output=True, text=True).stdout


def floor(text):
    """The median of the statements' times in milliseconds, one client, by pgbench's log."""
    script, log = f"{os.environ['INTEROP_WORK']}/floor.sql", f"{os.environ['INTEROP_WORK']}/floor"
    with open(script, "w", encoding="utf-8") as file:
        file.write(text.replace("; ", ";\n") + "\n")
    environment = os.environ | {"PGOPTIONS": "-c search_path=idm_users"}
    arguments = ["-n", "-c", "1", "-t", str(TRIES), "-f", script, "-l", f"--log-prefix={log}"]
    subprocess.run([*PGBENCH, *arguments], check=True, capture_output=True, env=environment)
    folder, name = os.path.split(log)
    [written] = [entry for entry in os.listdir(folder) if re.fullmatch(rf"{name}\.\d+", entry)]
    with open(f"{folder}/{written}", encoding="utf-8") as file:
        times = [int(line.split()[2]) / 1000 for line in file]
    os.remove(f"{folder}/{written}")
    return statistics.median(times)


token = sign_in(os.environ["INTEROP_USERNAME"], os.environ["INTEROP_PASSWORD"])
run_sql(FILL)
run_sql("VACUUM ANALYZE idm_users.subjects")
connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["INTEROP_PORT"]))


def over_http(path):
    times, total = [], None
    for _ in range(TRIES):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"JWT {token}"})
        answer = connection.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, body
        total = answer.headers["X-Total-Count"]
    return statistics.median(times), total


figures = {}
print(f"   {COUNT:,} subjects, medians of {TRIES} in milliseconds, one client", flush=True)
for name, path, statements in ROWS:
    over_http(path)
    served, total = over_http(path)
    floor_time = floor(statements)
    figures[name] = served
    ratio = served / floor_time
    print(f"   {name:32} {served:7.2f} over HTTP, {floor_time:7.2f} its SQL, ratio {ratio:4.2f}, of {total}", flush=True)
    # What is over in two milliseconds is mostly the way there and back.
    check(f"{name}: at most twice its SQL, or 3 ms", ratio <= 2 or served <= 3, f"{served:.2f} / {floor_time:.2f}")
deep = figures["page 1,000"] / figures["page 1"]
check(f"page 1,000 takes at most three times page 1 ({deep:.2f})", deep <= 3)
