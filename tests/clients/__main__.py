"""tests/clients/run: clients nobody here wrote, one test for each client and feature.

Against a Highwater node (the default) or a real Apache Kafka (--target kafka); the same tests, and where the results
differ on purpose, differences.md says so. Clients are fetched once into ${XDG_CACHE_HOME:-~/.cache}/highwater-clients.
"""
import argparse
import sys

import fetch
import table
from registry import CLIENTS
from suite import Suite
from targets import Highwater, Kafka


def arguments():
    parser = argparse.ArgumentParser(prog="tests/clients/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=("highwater", "kafka"), default="highwater")
    parser.add_argument("--quick", action="store_true", help="kcat, confluent-kafka and kafka-python only (under 3 minutes)")
    parser.add_argument("--client", metavar="NAME", action="append", help="only this client (repeatable)")
    parser.add_argument("--feature", metavar="TEXT", action="append", help="only features that contain TEXT (repeatable)")
    parser.add_argument("--jobs", type=int, default=2, help="clients at a time [2]")
    parser.add_argument("--list", action="store_true", help="list the clients")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/compatibility.md")
    return parser.parse_args()


def main():
    options = arguments()
    clients = [make() for make in CLIENTS]
    if options.list:
        print("\n".join(client.name for client in clients))
        return 0
    if options.client:
        unknown = set(options.client) - {client.name for client in clients}
        if unknown:
            sys.exit(f"no such client: {', '.join(sorted(unknown))}; see --list")
        clients = [client for client in clients if client.name in options.client]
    elif options.quick:
        clients = [client for client in clients if client.quick]
    if options.target == "kafka":
        classpath, version = fetch.maven("kafka"), fetch.pom_property("kafka", "kafka.version")
        def new_target():
            return Kafka(classpath, version)
    else:
        new_target, version = Highwater, Highwater.version()
    features = options.feature or []
    suite = Suite(new_target, options.jobs, lambda _, feature: not features or any(text in feature for text in features))
    print(f"target: {options.target} {version}", flush=True)
    suite.run(clients)
    print()
    for result in suite.results:
        if result.outcome != "PASS":
            word = "FAIL: clients" if result.outcome == "FAIL" else "SKIPPED: clients"
            print(f"{word}: {result.client} × {result.feature}: {(result.reason.strip().splitlines() or [''])[-1]}")
    if options.write_docs:
        table.write(options.target, version, suite, clients)
    failed = suite.count("FAIL")
    print(f"\n{suite.count('PASS')} passed, {failed} failed, {suite.count('SKIP')} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
