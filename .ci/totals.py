"""Add up the JUnit files of every pytest run: what was skipped and why, what failed.

    python3 .ci/totals.py build/reports

The last line is `N passed, N failed, N skipped`; before it stands each failed test,
with its error, since a long log is not read from its beginning. A test that failed
beside others and passed alone (`NAME-again.xml`, see pytest.sh) is named as unsteady.
Fails if a test failed, if a run left no report, or if anything was skipped by root, who
can install whatever a test needs.
"""

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

LONGEST_MESSAGE = 160
AGAIN = "-again"


@dataclass
class Report:
    """One JUnit file: outcomes, reasons of skips, and failed tests with their error."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)

    def add(self, case: Element) -> None:
        test = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        skipped = case.find("skipped")
        fault = case.find("failure")
        if fault is None:
            fault = case.find("error")
        if fault is not None:
            message = " ".join(fault.get("message", fault.text or "").split())
            self.failed[test] = message[:LONGEST_MESSAGE]
            self.counts["failed"] += 1
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            self.counts["skipped"] += 1
            self.reasons[skipped.get("message", "no reason given")] += 1
        else:
            self.counts["passed"] += 1
            self.passed.add(test)

    def pardon(self, again: "Report") -> dict[str, str]:
        """Take those that passed alone from the failed; return them."""
        pardoned = {t: m for t, m in self.failed.items() if t in again.passed}
        for test in pardoned:
            del self.failed[test]
        self.counts.update(failed=-len(pardoned), passed=len(pardoned))
        return pardoned


def read(path: Path) -> Report:
    report = Report(path.stem)
    for case in ElementTree.parse(path).iter("testcase"):
        report.add(case)
    return report


def in_words(counts: Counter[str]) -> str:
    words = ("passed", "failed", "skipped")
    return ", ".join(f"{counts[word]} {word}" for word in words)


def main(directory: Path) -> int:
    total: Counter[str] = Counter()
    read_ones = {path.stem: read(path) for path in sorted(directory.glob("*.xml"))}
    reports = [r for r in read_ones.values() if not r.name.endswith(AGAIN)]
    unsteady = {
        report.name: report.pardon(read_ones[report.name + AGAIN])
        for report in reports
        if report.name + AGAIN in read_ones
    }
    print("\n== totals")
    for report in reports:
        total += report.counts
        print(f"{report.name:<24} {in_words(report.counts)}")
        for reason, times in report.reasons.most_common():
            print(f"    skipped {times} times: {reason}")
    steps = directory / "skipped.txt"
    for line in steps.read_text().splitlines() if steps.exists() else []:
        total["skipped"] += 1
        print(f"    skipped step: {line}")
    for report in reports:
        for test, message in unsteady.get(report.name, {}).items():
            print(f"UNSTEADY in {report.name}, passed alone: {test}: {message}")
        for test, message in report.failed.items():
            print(f"FAILED in {report.name}: {test}: {message}")
    print(in_words(total))
    if total["skipped"] and os.geteuid() == 0:
        print("root skips nothing: the skips above count as failures")
    may_skip = os.geteuid() != 0 or not total["skipped"]
    told = total["passed"] + total["skipped"]
    return 0 if told and not total["failed"] and may_skip else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
