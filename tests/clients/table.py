"""The table client × feature in docs/compatibility.md, between markers, one for each target."""
import os
import time

from targets import ROOT

PAGE = os.path.join(ROOT, "docs", "compatibility.md")
CELLS = {"PASS": "✓", "FAIL": "**fails**", "SKIP": "skipped"}
# Clients with features of their own, listed below the matrix.
MATRIX_MIN = 8


def write(target, version, suite, clients):
    begin, end = f"<!-- results {target}: begin -->", f"<!-- results {target}: end -->"
    with open(PAGE) as file:
        page = file.read()
    head, rest = page.split(begin)
    tail = rest.split(end)[1]
    with open(PAGE, "w") as file:
        file.write(head + begin + "\n" + rendered(target, version, suite, clients) + end + tail)


def rendered(target, version, suite, clients):
    found = {}
    for result in suite.results:
        found.setdefault(result.client, {})[result.feature] = result
    common = {}
    for features in found.values():
        for feature in features:
            common[feature] = common.get(feature, 0) + 1
    columns = [client.name for client in clients if sum(common[f] > 1 for f in found.get(client.name, {})) >= MATRIX_MIN]
    others = [client.name for client in clients if client.name in found and client.name not in columns]
    name = "Apache Kafka" if target == "kafka" else "Highwater"
    counts = ", ".join(f"{suite.count(outcome)} {word}" for outcome, word in (("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped")))
    lines = [f"{name} {version}, {time.strftime('%Y-%m-%d')}: {counts}.", ""]
    if columns:
        rows = ordered(feature for column in columns for feature in found[column])
        lines += ["| | " + " | ".join(f"{column} {suite.versions.get(column, '')}" for column in columns) + " |",
                  "|---|" + "---|" * len(columns)]
        for feature in rows:
            cells = [CELLS[found[column][feature].outcome] if feature in found[column] else "" for column in columns]
            lines.append(f"| {feature} | " + " | ".join(cells) + " |")
        lines.append("")
    if others:
        lines += ["| Client | Test | |", "|---|---|---|"]
        for client in others:
            for feature, result in found[client].items():
                reason = f": {result.reason.splitlines()[0][:120]}" if result.outcome == "SKIP" and result.reason else ""
                lines.append(f"| {client} {suite.versions.get(client, '')} | {feature} | {CELLS[result.outcome]}{reason} |")
        lines.append("")
    return "\n".join(lines)


def ordered(features):
    """Each feature once, in the order of its first place."""
    return list(dict.fromkeys(features))
