"""The brokers under test: a Highwater node, or a one-node Apache Kafka. Both on loopback and free ports."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from node import Node, binary  # noqa: E402

KAFKA_START_SECONDS = 90
KAFKA_CLUSTER = "aGlnaHdhdGVyLXRlc3RzMA"
# Kafka's own defaults, but for what one node needs, and for its periodic chores: at the default periods
# (15 s, 5 min) the tests would mostly wait.
KAFKA_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
KAFKA_TEST_PROPERTIES = {
    "log.retention.check.interval.ms": "2000",
    "log.cleaner.backoff.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Highwater:
    """`highwater serve` in a directory of its own."""

    name = "highwater"

    def __init__(self, data_dir=None, env=None):
        self.own_dir = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="highwater-clients-")
        self.node = Node(data_dir=self.data_dir, env=env)

    @property
    def bootstrap(self):
        return self.node.kafka

    def pid(self):
        return self.node.pid()

    def alive(self):
        return self.node.process.poll() is None

    def kill(self):
        """kill -9."""
        self.node.kill()

    def stop(self):
        """A clean stop; the data stays."""
        self.node.stop()

    def start(self):
        self.node.start()

    def segment_files(self, topic_prefix=None):
        """Segment files of a stopped node: `segments/<topic id>-<partition>/*.log`."""
        found = []
        for folder, _, files in os.walk(os.path.join(self.data_dir, "segments")):
            found += [os.path.join(folder, name) for name in files if name.endswith(".log")]
        return sorted(found)

    def close(self):
        self.node.close()
        if self.own_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def said(self):
        return "".join(self.node.messages[-40:])

    @staticmethod
    def version():
        done = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=30)
        return done.stdout.strip().split()[-1]


class Kafka:
    """Apache Kafka in KRaft mode, started from its Maven artifacts."""

    name = "kafka"

    def __init__(self, classpath, version, properties=None, heap=("-Xmx1G", "-Xms1G"), data_dir=None, env=None):
        self.classpath, self.kafka_version, self.heap, self.env = classpath, version, list(heap), env
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="kafka-clients-")
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        settings = dict(KAFKA_PROPERTIES, **(KAFKA_TEST_PROPERTIES if properties is None else properties))
        settings.update({
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": os.path.join(self.data_dir, "logs"),
        })
        self.properties = os.path.join(self.data_dir, "server.properties")
        with open(self.properties, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in settings.items())
        self.log = os.path.join(self.data_dir, "server.out")
        self.process = None
        self._format()
        self.start()

    def _format(self):
        done = subprocess.run(["java", "-cp", self.classpath, "kafka.tools.StorageTool", "format", "--standalone",
                               "-t", KAFKA_CLUSTER, "-c", self.properties], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"kafka-storage format: {done.stdout}{done.stderr}")

    def start(self):
        # The flags of Kafka's own start script.
        flags = ["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
                 "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
                 "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["java", *self.heap, *flags, "-cp", self.classpath, "kafka.Kafka", self.properties],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            cwd=self.data_dir, env=dict(os.environ, **(self.env or {})))
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + KAFKA_START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("Kafka did not start:\n" + self.said())
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("Kafka did not listen in time:\n" + self.said())

    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.alive():
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.alive():
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()

    def segment_files(self, topic_prefix=""):
        found = []
        for folder, _, files in os.walk(os.path.join(self.data_dir, "logs")):
            if os.path.basename(folder).startswith(topic_prefix):
                found += [os.path.join(folder, name) for name in files if name.endswith(".log")]
        return sorted(found)

    def close(self):
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def said(self):
        with open(self.log, errors="replace") as file:
            return file.read()[-4000:]

    def version(self):
        return self.kafka_version
