"""`python -m tests.stress.reliability_matrix`: all fault loops at every point, as a Markdown table of what was tried.

Every operation of every scenario fails once and from there on for ever, the process dies at it, the power goes after it;
and where a recovery was under way, once more in that. Ends with code 1 where anything was lost. Takes some minutes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from tests.helpers.fault_loops import ALL_FAULTS, Scenario, Stages, Tally, cut_power_at, fail_everywhere
from tests.helpers.faults import FAULTS, KILLED
from tests.helpers.scenarios import SCENARIOS

_SUBSETS = 3  # random parts of what was not synced, at each point
_RECOVERIES = 15  # at every so many-th image the recovery is cut as well


def run(scenario: Scenario, tally: Tally) -> None:
    """Everything that can go wrong in one scenario."""
    with tempfile.TemporaryDirectory() as place:
        for fault in FAULTS:
            fail_everywhere(Stages(scenario, Path(place, fault)), fault, lasting=False, tally=tally)
            if fault != KILLED:
                fail_everywhere(Stages(scenario, Path(place, f"{fault} lasting")), fault, lasting=True, tally=tally)
        stages = Stages(scenario, Path(place, "power"))
        cut_power_at(stages, stages.power_cuts(), tally, _SUBSETS, _RECOVERIES)


def table(rows: dict[str, dict[str, int]], title: str) -> list[str]:
    """A Markdown table of counts."""
    lines = [f"| {title} | {' | '.join(ALL_FAULTS)} |", f"|---|{'---:|' * len(ALL_FAULTS)}"]
    rows = {**rows, "**all**": {fault: sum(row[fault] for row in rows.values()) for fault in ALL_FAULTS}}
    for name, row in rows.items():
        counts = (f"{row[fault]:,}" if row[fault] else "-" for fault in ALL_FAULTS)
        lines.append(f"| {name} | {' | '.join(counts)} |")
    return lines


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress.reliability_matrix", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", help="a part of the names of scenarios")
    logging.disable()  # every fault is logged, thousands of times
    only = parser.parse_args().only or ""
    whole, by_scenario, failures = Tally(), dict[str, dict[str, int]](), 0
    for scenario in (scenario for scenario in SCENARIOS if only in scenario.name):
        tally = Tally()
        try:
            run(scenario, tally)
        except AssertionError as error:
            failures += 1
            sys.stderr.write(f"LOST: {error}: {error.__cause__}\n")
        whole.points.update(tally.points)
        by_scenario[scenario.name] = {fault: tally.total(fault) for fault in ALL_FAULTS}
        sys.stderr.write(f"{scenario.name}: {sum(tally.points.values()):,} points\n")
    calls = sorted({call for call, _ in whole.points})
    by_call = {f"`{call}`": {fault: whole.points[call, fault] for fault in ALL_FAULTS} for call in calls}
    sys.stdout.write("\n".join([*table(by_call, "operation"), "", *table(by_scenario, "while"), ""]))
    sys.stdout.write(f"\n{sum(whole.points.values()):,} points, {failures} failures.\n")
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
