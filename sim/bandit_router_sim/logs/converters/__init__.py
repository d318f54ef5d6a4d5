"""Other people's logs as full-information logs or battles, one module a format.

A converter takes the paths of the files and keyword options. All take `name` (the log's; else the first file's) and
`on_bad`: called for each bad row, which is then left out; without it the first bad row raises BadRow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bandit_router_sim.logs.battles import Battles
from bandit_router_sim.logs.converters import (
    chatbot_arena,
    generic,
    llmrouterbench,
    paretobandit,
    routellm,
    routerbench,
    sprout,
)
from bandit_router_sim.logs.full import FullLog

Converter = Callable[..., FullLog | Battles]

CONVERTERS: Mapping[str, Converter] = {
    "chatbot-arena": chatbot_arena.convert,
    "generic": generic.convert,
    "llmrouterbench": llmrouterbench.convert,
    "paretobandit": paretobandit.convert,
    "routellm": routellm.convert,
    "routerbench": routerbench.convert,
    "sprout": sprout.convert,
}
