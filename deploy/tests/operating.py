"""docs/operating.md against the sources: python3 operating.py ROOT

Every metric, every line of the log with its level and fields, every alert, every line of /readyz and every exit
status is in the document, and the document has none that is not there.
"""

import pathlib
import re
import sys

SERVICES = {"ident": "ident", "tokenstore": "tokenstore", "idm-users": "idm_users", "eida-auth": "eida_auth"}
ALL = "All services"
# In words of its own, which the document says; or described by the table of a request's line.
APART = {"{warning}", "request"}


def sources(root, folder):
    """What is built of the sources of a crate: without the tests at the end of a file."""
    for path in sorted((root / folder / "src").rglob("*.rs")):
        if "tests" not in path.parts and path.stem not in ("tests", "fuzz"):
            yield path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests", 1)[0]


def call(text, start):
    """The arguments of a call whose bracket is opened just before `start`, divided at commas."""
    depth, at, parts, part = 1, start, [], start
    while depth:
        character = text[at]
        if character == '"':
            at += 1
            while text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 1:
            parts.append(text[part:at])
            part = at + 1
        at += 1
    parts.append(text[part : at - 1])
    return [argument.strip() for argument in parts if argument.strip()]


def field(argument):
    name = argument.split("=", 1)[0].strip() if re.match(r"[\w.]+ *=[^=]", argument) else argument.lstrip("%?")
    assert re.fullmatch(r"\w+", name), f"what is the field of `{argument}`?"
    return name


def lines_of(texts):
    """{message: {(level, fields)}} of what is logged for operators."""
    found = {}
    for text in texts:
        for macro in re.finditer(r"tracing::(error|warn|info)!\(", text):
            *fields, message = call(text, macro.end())
            assert message[0] == message[-1] == '"', f"a message that is no text: {message}"
            message = re.sub(r"\\\n\s*", "", message[1:-1])
            found.setdefault(message, set()).add((macro[1].upper(), frozenset(map(field, fields))))
    return found


def metrics_of(texts):
    """The names with which metrics are registered; a counter's ends in `_total`."""
    found = set()
    for text in texts:
        for made in re.finditer(r"\.(counter|gauge|collect_gauges|register)\(\s*\"(\w+)\"", text):
            is_counter = made[1] == "counter" or (
                made[1] == "register" and re.search(rf"{made[2]}\"[^;]*Counter|Family<\w+, Counter>", text)
            )
            found.add(made[2] + ("_total" if is_counter else ""))
    return found


def rows(section):
    """The cells of a section's tables, without heads."""
    for line in section.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def codes(cell):
    return re.findall(r"`([^`]+)`", cell)


def section(text, heading):
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, flags=re.S | re.M)
    assert found, f"there is no heading `{heading}`"
    return found[2]


def compare(what, in_code, in_document):
    wrong = [f"{what}: not in the document: {one}" for one in sorted(in_code - in_document)]
    return wrong + [f"{what}: only in the document: {one}" for one in sorted(in_document - in_code)]


def log(root, text):
    wrong, count = [], 0
    for heading, folder in {ALL: "crates/core", **{name: f"services/{name}" for name in SERVICES}}.items():
        in_code = lines_of(sources(root, folder))
        documented = {}
        for message, level, fields, _ in rows(section(text, heading)):
            if message != "`message`":
                documented[message.strip("`")] = (level, frozenset(codes(fields)))
        # What a service logs in the words of all stands with those of all.
        shared = lines_of(sources(root, "crates/core")) if heading != ALL else {}
        in_code = {message: kinds for message, kinds in in_code.items() if message not in APART and message not in shared}
        wrong += compare(f"log of {heading}", set(in_code), set(documented))
        for message in set(in_code) & set(documented):
            count += 1
            for level, fields in in_code[message] - {documented[message]}:
                wrong.append(f"log of {heading}: `{message}` is {level} with {sorted(fields)} in the sources")
    return wrong, count


def metrics(root, text):
    documented = {name for row in rows(section(text, "Metrics")) for name in codes(row[0])}
    in_code = {f"SERVICE_{name}" for name in metrics_of(sources(root, "crates/core"))}
    for folder, prefix in SERVICES.items():
        in_code |= {f"{prefix}_{name}" for name in metrics_of(sources(root, f"services/{folder}"))}
    return compare("metric", in_code, documented), len(in_code)


def alerts(root, text):
    rules = (root / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    in_rules = set(re.findall(r"- alert: (\w+)", rules))
    documented = {name for row in rows(section(text, "Alarms")) for name in codes(row[0])[:1]}
    return compare("alert", in_rules, documented), len(in_rules)


def statuses(root, text):
    failure = (root / "crates/core/src/failure.rs").read_text(encoding="utf-8")
    in_code = {"0"} | set(re.findall(r"ExitCode::from\((\d+)\)", failure)) | ({"1"} if "ExitCode::FAILURE" in failure else set())
    documented = {row[0] for row in rows(section(text, "Commands and exit status"))} - {"status"}
    return compare("exit status", in_code, documented), len(in_code)


def readiness(root, text):
    health = (root / "crates/core/src/http/health.rs").read_text(encoding="utf-8")
    in_code = set(re.findall(r'(?:line\(|once\(\()"(\w+)"', health))
    for name in SERVICES:
        for source in sources(root, f"services/{name}"):
            in_code |= set(re.findall(r'\("(\w+)", self\.\w+\.clone\(\)\)', source))
    documented = {row[0].strip("`").removesuffix(": ok") for row in rows(section(text, "Health")) if ": ok" in row[0]}
    return compare("line of /readyz", in_code, documented), len(in_code)


def main(root):
    root = pathlib.Path(root)
    text = (root / "docs/operating.md").read_text(encoding="utf-8")
    wrong = []
    for name, check in [
        ("lines of the log", log), ("metrics", metrics), ("alerts", alerts), ("exit statuses", statuses),
        ("lines of /readyz", readiness),
    ]:
        found, count = check(root, text)
        wrong += found
        # Fewer would mean that this script reads the sources no more.
        assert count >= {"lines of the log": 60, "metrics": 25, "alerts": 10}.get(name, 4), f"only {count} {name}"
        print(f"{count} {name}")
    if wrong:
        sys.exit("docs/operating.md:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
