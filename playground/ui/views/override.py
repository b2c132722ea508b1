"""The value that the override panel is drawn from."""

import json

import numpy as np

from playground.core.fold import ViewState
from playground.core.values import Pool
from playground.ui.palette import looks


def override_value(state: ViewState, pool: Pool) -> str:
    """Return the panel's first value as JSON: the experts of a run and its weights in percent, in all of its layers."""
    if state.started is None:
        return ""
    experts = [vars(look) | {"icon": look.icon} for look in looks(state.pool, pool)]
    weights = np.zeros(len(experts)) if state.weights is None else 100 * np.asarray(state.weights, np.float64)
    layers = state.started.layers
    asked = {"mode": "set", "weights": weights.round(2).tolist(), "from": 1, "to": layers, "dropped": []}
    return json.dumps({"run": state.run_id, "pool": experts, "layers": layers, **asked})
