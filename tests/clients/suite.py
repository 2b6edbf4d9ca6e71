"""What a test is: one client, one feature. Runs them and keeps the results."""
import concurrent.futures
import subprocess
import threading
import time

import differences
from fetch import Missing

TEST_SECONDS = 120


class Failed(Exception):
    """A test that failed, with the reason."""


class Client:
    """A client: `prepare` fetches it and says its version; `tests` maps a feature to a function of the target."""

    name = ""
    # Features whose test kills, stops or reconfigures its target, which therefore is not shared.
    alone = frozenset()
    quick = False

    def prepare(self):
        """Fetches; answers the version. Raises Missing."""
        raise NotImplementedError

    def tests(self):
        """[(feature, function(target))]; known only after `prepare`."""
        raise NotImplementedError


class Program(Client):
    """A client driven by a small program of ours: COMMAND FEATURE BOOTSTRAP, status 0 if it holds."""

    features = ()
    # Features in two halves, with a kill -9 and a restart of the target between them.
    restarts = frozenset()

    def command(self):
        raise NotImplementedError

    def tests(self):
        return [(feature, self._test(feature)) for feature in self.features]

    @property
    def alone(self):
        return self.restarts

    def _test(self, feature):
        if feature not in self.restarts:
            return lambda target: run([*self.command(), feature, target.bootstrap])

        def halves(target):
            run([*self.command(), f"{feature}-before", target.bootstrap])
            target.kill()
            target.start()
            run([*self.command(), f"{feature}-after", target.bootstrap])
        return halves


def run(command, input=None, timeout=TEST_SECONDS, check=True, **options):
    """Runs a client to its end; answers its standard output, or raises Failed with its last words."""
    try:
        done = subprocess.run(command, input=input, capture_output=True, timeout=timeout, **options)
    except subprocess.TimeoutExpired as late:
        said = ((late.stdout or b"") + (late.stderr or b"")).decode(errors="replace")
        raise Failed(f"not done within {timeout} s; it said: {said[-800:]}") from None
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise Failed(f"status {done.returncode}: {(out + err).strip()[-1500:]}")
    return out


def check(condition, message):
    if not condition:
        raise Failed(message)


class Result:
    def __init__(self, client, feature, outcome, reason="", seconds=0.0):
        self.client, self.feature, self.outcome, self.reason, self.seconds = client, feature, outcome, reason, seconds


class Suite:
    """Runs the tests of clients against targets of one kind; `jobs` clients at a time."""

    def __init__(self, new_target, jobs, wanted):
        self.new_target, self.jobs, self.wanted = new_target, jobs, wanted
        self.results, self.versions = [], {}
        self.printing = threading.Lock()

    def run(self, clients):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for done in [pool.submit(self._client, client) for client in clients]:
                done.result()
        order = {client.name: place for place, client in enumerate(clients)}
        self.results.sort(key=lambda result: order[result.client])

    def _client(self, client):
        try:
            self.versions[client.name] = client.prepare()
        except Missing as missing:
            self._keep(Result(client.name, "all", "SKIP", str(missing)))
            return
        tests = [(feature, test) for feature, test in client.tests() if self.wanted(client.name, feature)]
        shared = None
        try:
            for feature, test in tests:
                if feature in client.alone:
                    target = self.new_target()
                    try:
                        self._one(client, feature, test, target)
                    finally:
                        target.close()
                    continue
                if shared is None or not shared.alive():
                    if shared is not None:
                        shared.close()
                    shared = self.new_target()
                self._one(client, feature, test, shared)
        finally:
            if shared is not None:
                shared.close()

    def _one(self, client, feature, test, target):
        start = time.monotonic()
        try:
            test(target)
            outcome, reason = "PASS", ""
        except Missing as missing:
            outcome, reason = "SKIP", str(missing)
        except Failed as failed:
            outcome, reason = "FAIL", str(failed)
        except Exception as broken:
            outcome, reason = "FAIL", f"{type(broken).__name__}: {broken}"
        on_purpose = differences.reason(target.name, client.name, feature)
        if on_purpose and outcome == "PASS":
            outcome, reason = "FAIL", f"passes, so take it off differences.py: {on_purpose}"
        elif on_purpose and outcome == "FAIL" and target.alive():
            outcome, reason = "SKIP", f"differs on purpose: {on_purpose}"
        if outcome == "FAIL" and not target.alive():
            reason += f"\n    the broker ended; it said: {target.said()[-1500:]}"
        self._keep(Result(client.name, feature, outcome, reason, time.monotonic() - start))

    def _keep(self, result):
        with self.printing:
            self.results.append(result)
            version = self.versions.get(result.client, "")
            line = f"{result.outcome}: {result.client} {version} × {result.feature}"
            if result.seconds:
                line += f" ({result.seconds:.1f} s)"
            print(line + (f"\n    {result.reason}" if result.reason else ""), flush=True)

    def count(self, outcome):
        return sum(result.outcome == outcome for result in self.results)
