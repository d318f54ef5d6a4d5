"""A request's type by words in its prompt, for routers that keep separate statistics per type of request.

The seven types are LiteLLM's (https://docs.litellm.ai/docs/adaptive_router); the words are ours.
"""

from __future__ import annotations

import re

GENERAL = "general"
READ_CHARACTERS = 2000

_PATTERNS = {
    "code_understanding": r"\b(explain|understand|what does|review|debug|trace)\b.*\b(code|function|script|program)\b",
    "code_generation": r"```|\bdef \w+\(|\b(write|implement|create|complete)\b.*\b(code|function|script|program)\b",
    "technical_design": r"\b(architecture|design (a|an|the|this)|system design|schema|api)\b",
    "analytical_reasoning": r"\b(calculate|compute|how (many|much)|probability|prove|solve|equation|percent|total|"
    r"find the (value|number|sum|product))\b",
    "writing": r"\b(draft|essay|email|poem|story|rewrite|paraphrase|summari[sz]e|blog)\b",
    "factual_lookup": r"\b(who|what|when|where|which|capital of|define)\b",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}

REQUEST_TYPES = (*_PATTERNS, GENERAL)


def request_type(prompt: str) -> str:
    """The first type whose words occur in the prompt's first READ_CHARACTERS characters, else `general`."""
    head = prompt[:READ_CHARACTERS]
    return next((name for name, pattern in _COMPILED.items() if pattern.search(head)), GENERAL)
