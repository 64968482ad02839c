"""Rows of the table from the log of minio-go's functional tests: `minio_go_results.py LIST LOG`.

The log has JSON lines, one or more for each test, with PASS, FAIL or NA; NA is what the tests call an answer of 501. The
list names the tests that need what is not there yet, and how they fail for want of it.
"""

import json
import sys


def listed(path):
    """What each listed test needs, and the text that its failure has."""
    lines = (line.rstrip("\n") for line in open(path, encoding="utf-8"))
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {test: (needs, text) for test, needs, text in rows}


def outcomes(path):
    """Test, what it called, status and why, in order."""
    for line in open(path, encoding="utf-8", errors="replace"):
        try:
            test = json.loads(line)
            name, status = test["name"].removeprefix("minio-go: "), test["status"]
        except (ValueError, KeyError, TypeError):
            continue
        why = " ".join(f"{test.get('alert', '')} {test.get('message', '')} {test.get('error', '')}".split())
        yield name, test.get("function", "").split("(")[0], status, why


def main():
    needed = listed(sys.argv[1])
    worst = {}
    rows = []
    for name, called, status, why in outcomes(sys.argv[2]):
        needs, text = needed.get(name, ("", None))
        if status == "PASS":
            result, why = "pass", ""
        elif text is not None and text in why:
            result, why = f"not there yet: {needs}", ""
        else:
            result = "FAIL"
        worst[name] = worst.get(name, True) and result == "pass"
        rows.append((name, called, result, why[:300]))
    for name, called, result, why in rows:
        # Pointed out once, and only if all that the test tried has passed.
        if result == "pass" and worst[name] and name in needed:
            del needed[name]
            result = "listed: passes"
        print("minio-go", f"{name} {called}".replace("\t", " "), result, why.replace("\t", " "), sep="\t")
    if not rows:
        print("minio-go", "functional tests", "FAIL", "no test ran", sep="\t")


main()
