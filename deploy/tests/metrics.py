"""What alerts and dashboard ask for, against what the services have.

python3 metrics.py names ROOT            every metric that is asked for is registered in the services' sources
python3 metrics.py dashboard DASHBOARD   every panel has a title, a place of its own and expressions
python3 metrics.py rules DASHBOARD       a rules file with every expression of the dashboard, for promtool
"""

import json
import pathlib
import re
import sys

PREFIXES = {"ident": "ident", "tokenstore": "tokenstore", "idm_users": "idm-users", "eida_auth": "eida-auth"}
OF_HISTOGRAMS = ("_bucket", "_count", "_sum")
# What Grafana fills in, and something that it could be.
VARIABLES = {"${service:regex}": "(ident|tokenstore)", "$__rate_interval": "5m", "$__range": "1h"}


def panels_of(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions_of(path):
    dashboard = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    for panel in panels_of(dashboard):
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def asked_for(text):
    """Names in PromQL, with the services that each could be of; a name by a pattern is of any that the pattern lists."""
    for prefix in PREFIXES:
        for name in re.findall(rf"(?<![\w)}}]){prefix}_(\w+)", text):
            yield prefix, name
    for services, name in re.findall(r'__name__=~"\(?([a-z_|]+?|\$\{service:regex\})\)?_(\w+)"', text):
        listed = PREFIXES if services.startswith("$") else services.split("|")
        for prefix in listed:
            if prefix in PREFIXES:
                yield prefix, name


def exists(root, prefix, name):
    for suffix in OF_HISTOGRAMS:
        name = name.removesuffix(suffix) if name.endswith(f"seconds{suffix}") else name
    # The library puts `_total` behind a counter's name.
    registered = {name, name.removesuffix("_total")}
    folders = (root / "services" / PREFIXES[prefix] / "src", root / "crates/core/src")
    for folder in folders:
        for source in folder.rglob("*.rs"):
            text = source.read_text(encoding="utf-8")
            if any(f'"{candidate}"' in text for candidate in registered):
                return True
    return False


def names(root):
    root = pathlib.Path(root)
    rules = (root / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    asked = set()
    for line in rules.splitlines():
        # Prose may name a service.
        if not line.lstrip().startswith(("#", "summary:", "- name:", "- alert:")):
            asked.update(("alerts.yml", prefix, name) for prefix, name in asked_for(line))
    for title, expression in expressions_of(root / "deploy/grafana/dashboard.json"):
        asked.update((title, prefix, name) for prefix, name in asked_for(expression))
    assert len(asked) > 20, asked
    missing = sorted(f"{where}: {prefix}_{name}" for where, prefix, name in asked if not exists(root, prefix, name))
    # A panel for all services may ask for what only some have; then one of them must have it.
    if missing:
        sys.exit("no service has\n" + "\n".join(missing))
    print(f"{len(asked)} names")


def rules(dashboard):
    print("groups:\n  - name: dashboard\n    rules:")
    for number, (title, expression) in enumerate(expressions_of(dashboard)):
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, f"{title}: {expression}"
        print(f"      - record: dashboard:expression:{number}\n        expr: {json.dumps(expression)}")


def dashboard(path):
    shown = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    assert shown["title"] and shown["uid"], "no title or uid"
    taken, ids = set(), set()
    for panel in panels_of(shown):
        title, place = panel["title"], panel["gridPos"]
        assert title, panel
        assert panel["id"] not in ids, f"{title}: its id is taken"
        ids.add(panel["id"])
        fields = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not fields & taken, f"{title}: it lies on another"
        taken |= fields
        if panel["type"] != "row":
            assert panel["targets"] and all(target["expr"] for target in panel["targets"]), f"{title}: no expression"
    print(f"{len(ids)} panels")


if __name__ == "__main__":
    {"names": names, "dashboard": dashboard, "rules": rules}[sys.argv[1]](sys.argv[2])
