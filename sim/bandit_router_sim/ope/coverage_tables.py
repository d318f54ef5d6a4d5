"""Measured coverage as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from bandit_router_sim.ope.coverage_measure import OutcomeCoverage, ScenarioCoverage


def as_markdown(results: Sequence[ScenarioCoverage]) -> str:
    """The tables: DR and the guaranteed intervals by scenario, then all estimators by scenario."""
    parts = [_headlines(results), *(_estimator_table(results, outcome) for outcome in ("reward", "cost"))]
    return "\n".join(parts)


def _headlines(results: Sequence[ScenarioCoverage]) -> str:
    columns = ["scenario", "outcome", "effective rows", "refused", "DR normal", "DR bootstrap"]
    columns += ["sequence DR", "sequence IPS", "Bernstein IPS", "RMSE DR / IPS"]
    cells = []
    for result in results:
        head = [result.name, "reward", f"{result.effective_rows:.0f}", f"{result.refused_share:.0%}"]
        cells.append(head + _headline(result.reward))
        cells.append([result.name, "cost", "", "", *_headline(result.cost)])
    return _table(columns, cells)


def _headline(part: OutcomeCoverage) -> list[str]:
    robust, weighted = part.scores["dr"], part.scores["ips"]
    found = [part.guaranteed.get(kind) for kind in ("sequence_dr", "sequence_ips", "bernstein_ips")]
    guaranteed = [f"{pair[0]:.3f} ±{0.5 * pair[1]:.2g}" if pair else "–" for pair in found]
    normal = f"{robust.normal:.3f} ±{0.5 * robust.width:.2g}"
    return [normal, f"{robust.bootstrap:.3f}", *guaranteed, f"{robust.rmse / weighted.rmse:.2f}"]


def _estimator_table(results: Sequence[ScenarioCoverage], outcome: str) -> str:
    """Per estimator and scenario: RMSE relative to DR's, and coverage of the normal interval."""
    parts: list[OutcomeCoverage] = [getattr(result, outcome) for result in results]
    names = list(dict.fromkeys(name for part in parts for name in part.scores))
    cells = [[name, *(_relative(part, name) for part in parts)] for name in names]
    return _table([f"{outcome}: RMSE / DR's, coverage", *(result.name for result in results)], cells)


def _relative(part: OutcomeCoverage, name: str) -> str:
    if name not in part.scores:
        return "–"
    score = part.scores[name]
    return f"{score.rmse / part.scores['dr'].rmse:.2f}, {score.normal:.3f}"


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
