"""Where Highwater differs from Kafka on purpose: (client or "*", feature) -> why.

Such a test has to fail against Highwater, and is then listed as skipped with the reason; if it passes, that is a
failure: the entry is out of date. docs/compatibility.md has the same list for people.
"""

HIGHWATER = {
    ("*", "group-consumer-protocol"): "KIP-848 groups are not served yet: clients use the classic protocol",
}


def reason(target, client, feature):
    """Why this test fails against that target on purpose, or None."""
    if target != "highwater":
        return None
    return HIGHWATER.get((client, feature)) or HIGHWATER.get(("*", feature))
