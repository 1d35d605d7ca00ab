"""What was measured, round by round."""

import json
import statistics
from pathlib import Path

PATH = Path(__file__).resolve().parents[1] / "results.json"


class Part:
    """The figures of one part of the benchmarks: for each subject a figure for each round."""

    def __init__(self, facts=None):
        self.facts = facts or {}
        self.subjects = {}

    def note(self, subject, value):
        if isinstance(value, dict):
            self.fail(subject, value["failed"])
        elif "failed" not in self.subjects.setdefault(subject, {"values": []}):
            self.subjects[subject]["values"].append(value)

    def fail(self, subject, reason):
        print(f"  FAILED {subject}: {reason}", flush=True)
        self.subjects[subject] = {"failed": str(reason)}

    def has_failed(self, subject):
        return "failed" in self.subjects.get(subject, {})

    def as_json(self):
        return {**self.facts, "subjects": self.subjects}


def load():
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def save(results):
    # One subject a line.
    lines = []
    for name, part in sorted(results.items()):
        facts = {key: value for key, value in part.items() if key != "subjects"}
        subjects = ",\n".join(
            f"      {json.dumps(subject)}: {json.dumps(rounded(measured))}"
            for subject, measured in part["subjects"].items()
        )
        head = json.dumps(facts, indent=6)[1:-1].rstrip()
        lines.append(f"  {json.dumps(name)}: {{{head},\n      \"subjects\": {{\n{subjects}\n      }}\n  }}")
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def rounded(measured):
    if "values" not in measured:
        return measured
    return {"values": [float(f"{value:.5g}") for value in measured["values"]]}


class Results:
    """Reads the figures of results.json."""

    def __init__(self, results):
        self.results = results

    def part(self, name):
        return self.results.get(name, {})

    def subject(self, part, subject):
        return self.part(part).get("subjects", {}).get(subject, {})

    def values(self, part, subject):
        return self.subject(part, subject).get("values") or []

    def failure(self, part, subject):
        return self.subject(part, subject).get("failed")

    def median(self, part, subject):
        values = self.values(part, subject)
        return statistics.median(values) if values else None

    def ratio(self, part, over, under):
        """Returns the ratio of two subjects in each round."""
        pairs = zip(self.values(part, over), self.values(part, under))
        return [first / second for first, second in pairs if second]

    def failures(self):
        for name, part in self.results.items():
            for subject, measured in part.get("subjects", {}).items():
                if "failed" in measured:
                    yield name, subject, measured["failed"]
