"""All clients, in the order of the table."""
from go_and_node import Franz, KafkaJs
from java_clients import JavaClients, Streams
from kcat import Kcat
from pipelines import Flink, Rsyslog, Spark, Storm
from python_clients import Confluent, KafkaPython
from tools import Tools

CLIENTS = (Kcat, Confluent, KafkaPython, JavaClients, Franz, KafkaJs, Tools, Streams, Spark, Flink, Storm, Rsyslog)
