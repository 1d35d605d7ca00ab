"""Measures, keeps the figures in benchmarks/results.json, and writes benchmarks/RESULTS.md and the plots from them.

scripts/bench prepares what this needs, and explains the options.
"""

import datetime
import sys
import time
import traceback

import machine
import record
import report
from parts import functions, http, memory, scale, stores

PARTS = {"http": http, "functions": functions, "stores": stores, "memory": memory, "scale": scale}


def main(arguments):
    quick = "--quick" in arguments
    named = [argument for argument in arguments if not argument.startswith("--")]
    if "report" in named:
        report.write(record.load())
        return 0
    results = record.load()
    failed = []
    facts = {"machine": machine.describe(), "versions": machine.versions(), "commit": machine.commit()}
    for name in named or PARTS:
        begun = time.monotonic()
        try:
            part = PARTS[name].run(quick)
        except Exception as error:
            traceback.print_exc()
            part = record.Part()
            part.fail(name, f"the part broke off: {error}")
        part.facts |= {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "took": f"{time.monotonic() - begun:.0f} s",
            "quick": quick,
            **facts,
        }
        results[name] = part.as_json()
        failed += [f"{name}: {subject}" for subject in part.subjects if part.has_failed(subject)]
        # Whatever happens to the next part.
        record.save(results)
        print(f"{name}: {part.facts['took']}", flush=True)
    report.write(results)
    for subject in failed:
        print(f"bench: FAILED {subject}")
    print("bench: see benchmarks/RESULTS.md" + (", of a quick run: only to try it out" if quick else ""))
    return 1 if failed else 0


sys.exit(main(sys.argv[1:]))
