"""Systems that read and write Kafka: Spark Structured Streaming, Flink, Storm, rsyslog. One real job each."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import fetch
from suite import Client, check, run
from tools import command as tool

JOB_SECONDS = 300


class Job(Client):
    """A job in Java; topics are filled and read back with Kafka's own tools."""

    pom = ""
    opens = ()

    def prepare(self):
        self.tools = fetch.maven("kafka")
        self.classpath = fetch.java(self.pom, f"{type(self).__name__}Job.java")
        return fetch.pom_property(self.pom, f"{self.pom}.version")

    def tool(self, target, name, *arguments, **options):
        return run(tool(self.tools, name, "--bootstrap-server", target.bootstrap, *arguments), **options)

    def topic(self, target, name, lines=(), partitions=2):
        self.tool(target, "kafka-topics", "--create", "--topic", name, "--partitions", str(partitions))
        self.fill(target, name, lines)
        return name

    def fill(self, target, name, lines):
        if lines:
            self.tool(target, "kafka-console-producer", "--topic", name, input="".join(f"{line}\n" for line in lines).encode())

    def read(self, target, name):
        return self.tool(target, "kafka-console-consumer", "--topic", name, "--from-beginning", "--isolation-level",
                         "read_committed", "--timeout-ms", "15000").split()

    def job(self, *arguments):
        opens = [word for package in self.opens for word in ("--add-opens", f"{package}=ALL-UNNAMED")]
        folder = tempfile.mkdtemp(prefix="job-")
        try:
            return run(["java", "-Xmx1G", *opens, "-Dlog4j2.level=ERROR", "-cp", self.classpath, f"{type(self).__name__}Job",
                        *map(str, arguments)], cwd=folder, timeout=JOB_SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Spark(Job):
    name = "Spark Structured Streaming"
    pom = "spark"
    opens = ("java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.lang.reflect", "java.base/java.io", "java.base/java.net",
             "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
             "java.base/sun.nio.ch", "java.base/sun.nio.cs", "java.base/sun.security.action", "java.base/sun.util.calendar")

    def tests(self):
        return [("source and sink, restart from a checkpoint", self.stream)]

    def stream(self, target):
        source, out = self.topic(target, "spark-in", [f"a{n}" for n in range(500)]), self.topic(target, "spark-out")
        folder = tempfile.mkdtemp(prefix="spark-")
        try:
            said = self.job(target.bootstrap, source, out, folder)
            check("count 500 500" in said, said[-500:])
            self.fill(target, source, [f"b{n}" for n in range(300)])
            said = self.job(target.bootstrap, source, out, folder)
            check("count 800 800" in said, said[-500:])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        check(sorted(self.read(target, out)) == sorted([f"A{n}" for n in range(500)] + [f"B{n}" for n in range(300)]), "other records")


class Flink(Job):
    name = "Flink Kafka connector"
    pom = "flink"
    opens = ("java.base/java.util", "java.base/java.lang")

    def tests(self):
        return [("source, exactly-once sink, failure in the midst", self.exactly_once)]

    def exactly_once(self, target):
        source, out = self.topic(target, "flink-in", range(1000)), self.topic(target, "flink-out")
        said = self.job(target.bootstrap, source, out, 1000)
        check("done" in said, said[-500:])
        found = self.read(target, out)
        check(sorted(found) == sorted(f"out-{n}" for n in range(1000)), f"{len(found)} records, {len(set(found))} of them distinct")


class Storm(Job):
    name = "Storm KafkaSpout"
    pom = "storm"

    def tests(self):
        return [("at-least-once spout", self.spout)]

    def spout(self, target):
        source = self.topic(target, "storm-in", range(500))
        said = self.job(target.bootstrap, source, 500)
        check("seen 500" in said, said[-500:])
        lag = self.tool(target, "kafka-consumer-groups", "--describe", "--group", "storm")
        offsets = [int(row[1]) for row in re.findall(r"(storm-in)\s+\d+\s+(?:-\s+)?(\d+)\s+\d+\s+\d+", lag)]
        check(sum(offsets) == 500, f"committed offsets: {lag}")


class Rsyslog(Client):
    """rsyslogd with omkafka, as its own process without root's files: a TCP input, one action."""

    name = "rsyslog omkafka"
    alone = frozenset({"messages over a broker's restart"})

    def prepare(self):
        self.rsyslogd, self.kcat = fetch.need("rsyslogd", "rsyslog"), fetch.need("kcat", "kcat")
        for folder in ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog"):
            if os.path.exists(os.path.join(folder, "omkafka.so")):
                break
        else:
            raise fetch.Missing("omkafka.so is not installed (Debian: rsyslog-kafka)")
        return re.search(r"rsyslogd\s+(\S+)", run([self.rsyslogd, "-v"])).group(1)

    def tests(self):
        return [("messages over a broker's restart", self.messages)]

    def messages(self, target):
        folder = tempfile.mkdtemp(prefix="rsyslog-")
        port_file = os.path.join(folder, "port")
        with open(os.path.join(folder, "conf"), "w") as file:
            file.write(f'''global(workDirectory="{folder}")
module(load="imtcp")
module(load="omkafka")
template(name="line" type="string" string="%msg:::drop-last-lf%")
input(type="imtcp" port="0" address="127.0.0.1" listenPortFileName="{port_file}" ruleset="kafka")
ruleset(name="kafka") {{
  action(type="omkafka" broker=["{target.bootstrap}"] topic="rsyslog" template="line" resubmitOnFailure="on" keepFailedMessages="on"
         failedMsgFile="{folder}/failed" confParam=["acks=all", "enable.idempotence=true"] partitions.auto="on"
         action.resumeRetryCount="-1" action.resumeInterval="1")
}}
''')
        # The topic, made by its first record.
        run([self.kcat, "-P", "-b", target.bootstrap, "-t", "rsyslog"], input=b"first\n")
        process = subprocess.Popen([self.rsyslogd, "-n", "-f", os.path.join(folder, "conf"), "-i", os.path.join(folder, "pid")],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 20
            while not (os.path.exists(port_file) and os.path.getsize(port_file)):
                check(time.monotonic() < deadline and process.poll() is None, "rsyslogd did not start")
                time.sleep(0.05)
            port = int(open(port_file).read())
            expected = []
            for part in range(2):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    for number in range(500):
                        expected.append(f"message-{part}-{number}")
                        connection.sendall(f"<13>Nov 24 10:00:00 host app: {expected[-1]}\n".encode())
                if part == 0:
                    self._await(target, expected)
                    target.kill()
                    target.start()
            self._await(target, expected)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _await(self, target, expected):
        deadline = time.monotonic() + 60
        while True:
            seen = run([self.kcat, "-C", "-q", "-e", "-b", target.bootstrap, "-t", "rsyslog", "-o", "beginning"], check=False).split()
            if set(expected) <= set(seen):
                check(len(seen) == len(expected) + 1, f"{len(seen)} records for {len(expected)} messages")
                return
            check(time.monotonic() < deadline, f"{len(set(expected) - set(seen))} of {len(expected)} messages are missing")
            time.sleep(0.5)
