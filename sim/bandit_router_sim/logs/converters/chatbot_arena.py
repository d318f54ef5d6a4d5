"""Chatbot Arena conversations: JSONL, JSON or parquet, one vote between two models a row.

Columns `model_a`, `model_b`, `winner` (model_a, model_b, tie, or tie (bothbad), both_bad in later releases) and
`conversation_a`, a list of `{"role", "content"}` where content is text, or in later releases a list of `{"type",
"text", …}`. The prompt is the first turn of the user: a router sees no more, though the vote may rest on later turns.
Both kinds of tie become `tie`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bandit_router_sim.logs.battles import Battles, battles_of
from bandit_router_sim.logs.converters.reshape import canonical
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.tables import Table, read_table

WINNERS = {"model_a": "a", "model_b": "b", "tie": "tie", "tie (bothbad)": "tie", "both_bad": "tie"}
COLUMNS = ("conversation_a", "model_a", "model_b", "winner")
IS_VOTE = "a winner is 'model_a', 'model_b', 'tie', 'tie (bothbad)' or 'both_bad'"
IS_CONVERSATION = "is a list of turns, one of them the user's"


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> Battles:
    """The battles of all files, in order. Raises BadRow and UnusableLog as `read_battles` does."""
    if not paths:
        raise UnusableLog(name or "", "there is nothing to read")
    name = name or Path(paths[0]).stem
    parts = [_read(path, name=name, on_bad=on_bad) for path in paths]
    return Battles(
        name=name,
        prompts=tuple(prompt for part in parts for prompt in part.prompts),
        models_a=tuple(model for part in parts for model in part.models_a),
        models_b=tuple(model for part in parts for model in part.models_b),
        winners=tuple(winner for part in parts for winner in part.winners),
    )


def _read(path: PathLike, *, name: str, on_bad: OnBad | None) -> Battles:
    findings = Findings(path)
    table = read_table(path, findings, wants=lambda column: column in COLUMNS)
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise UnusableLog(str(path), f"there is no column {missing[0]!r}")
    renamed = canonical(
        table,
        prompt=_prompts(table, findings),
        model_a=table.columns["model_a"],
        model_b=table.columns["model_b"],
        winner=_winners(table, findings),
    )
    return battles_of(renamed, findings, name=name, on_bad=on_bad)


def _prompts(table: Table, findings: Findings) -> list[str]:
    prompts = [_first_turn(conversation) for conversation in table.objects("conversation_a")]
    for row, prompt in enumerate(prompts, start=1):
        if prompt is None:
            findings.add(row, "conversation_a", IS_CONVERSATION)
    return [prompt or "" for prompt in prompts]


def _winners(table: Table, findings: Findings) -> list[str | None]:
    votes = [vote if isinstance(vote, str) else "" for vote in table.objects("winner")]
    for row, vote in enumerate(votes, start=1):
        if vote not in WINNERS:
            findings.add(row, "winner", IS_VOTE)
    return [WINNERS.get(vote) for vote in votes]


def _first_turn(conversation: Any) -> str | None:
    """What the user said first; None if the cell is no conversation."""
    turns = conversation if isinstance(conversation, list) else []
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    if not contents:
        return None
    if isinstance(contents[0], list):
        parts = [part.get("text") for part in contents[0] if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return contents[0] if isinstance(contents[0], str) else None
