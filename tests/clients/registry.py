"""All clients, in the order of the table."""
from kcat import Kcat
from python_clients import Confluent, KafkaPython
from tools import Tools

CLIENTS = (Kcat, Confluent, KafkaPython, Tools)
