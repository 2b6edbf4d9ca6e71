"""kill -9 at random moments under producers and consumers that live on over the kills.

The short form of `make soak`: the program `highwater-soak` (crates/sim) keeps the history outside of
the node and judges it: lost, duplicated, reordered, aborted read, hole, offset reuse; offsets of
consumer groups that went back, values copied twice or not at all.
"""
import os
import subprocess
import tempfile
import unittest

from node import binary, count_from_env

ROUNDS = count_from_env("HIGHWATER_SOAK_ROUNDS", 20)
MINUTES = count_from_env("HIGHWATER_SOAK_MINUTES", 60)
# A place of its own outlives the test: run again, it goes on where it stopped.
DIR = os.environ.get("HIGHWATER_SOAK_DIR")
SEED = os.environ.get("HIGHWATER_SOAK_SEED")


class Soak(unittest.TestCase):
    def test_what_clients_saw_is_possible(self):
        soak = os.path.join(os.path.dirname(binary()), "highwater-soak")
        self.assertTrue(os.path.exists(soak), f"{soak} does not exist: tests/run builds it")
        with tempfile.TemporaryDirectory(prefix="highwater-soak-") as own:
            command = [soak, "--dir", DIR or own, "--rounds", str(ROUNDS), "--minutes", str(MINUTES)]
            command += ["--seed", SEED] if SEED else []
            done = subprocess.run(command, env=dict(os.environ, HIGHWATER_BIN=binary()), stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, "the history is not what the log promises; its seed is above")
