"""All clients, in the order of the table."""
from java_clients import JavaClients, Streams
from kcat import Kcat
from python_clients import Confluent, KafkaPython
from tools import Tools

CLIENTS = (Kcat, Confluent, KafkaPython, JavaClients, Tools, Streams)
