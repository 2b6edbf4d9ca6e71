"""All clients, in the order of the table."""
from python_clients import Confluent, KafkaPython

CLIENTS = (Confluent, KafkaPython)
