"""Sessions without a copy of the whole page.

The framework copies the settings of every component into each session, for links that reopen a page as it was. We have
no such links. The copy takes 0.4 MB and 8 ms for every session, and each call of an endpoint can be one.
"""

from copy import copy
from typing import TYPE_CHECKING, Any

from gradio import state_holder

if TYPE_CHECKING:
    from gradio.blocks import Blocks

CLOSED_SECONDS = 3600  # as in the framework: how long values are kept once the page is closed


class LightSession(state_holder.SessionState):
    """Hold the values of one session. The settings of a component are copied when the session changes it."""

    def __init__(self, blocks: "Blocks") -> None:
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = CLOSED_SECONDS


def keep_sessions_light() -> None:
    """Make every later session of this process a light one."""
    state_holder.SessionState = LightSession  # type: ignore[misc]
