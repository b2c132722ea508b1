"""Keep a training's tensors, optimiser and state in a folder, so that a killed training can go on where it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

STATE, TENSORS, MOMENTS = "state.json", "tensors.safetensors", "moments.safetensors"


@dataclass(frozen=True, eq=False)
class Saved:
    """What was saved last: the trained tensors, the optimiser's moments by parameter, and the caller's own values."""

    tensors: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]
    state: dict[str, Any]

    def resume(self, optimiser: torch.optim.Optimizer) -> None:
        """Put the moments into `optimiser`, which must have the same parameters in the same order."""
        optimiser.load_state_dict({"state": self.moments, "param_groups": optimiser.state_dict()["param_groups"]})


class Checkpoint:
    """The files of one training. `of` (JSON) holds all its inputs. A checkpoint made for other inputs is ignored."""

    def __init__(self, folder: Path, of: Mapping[str, Any]) -> None:
        self.folder = folder
        self.of = json.loads(json.dumps(of))  # as JSON gives it back, so that it compares equal to what was saved

    def save(self, tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer | None, **state: Any) -> None:
        """Replace what was saved. The state file is written last, which marks the checkpoint as complete.

        Without an optimiser, none has to go on: a convex fit ends in the same place whatever it remembers.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {} if optimiser is None else optimiser.state_dict()["state"]
        moments = {
            f"{index}.{key}": torch.as_tensor(value) for index, entry in kept.items() for key, value in entry.items()
        }
        (self.folder / STATE).unlink(missing_ok=True)
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, self.folder / TENSORS)
        save_file(moments, self.folder / MOMENTS)
        (self.folder / STATE).write_text(json.dumps({"of": self.of, **state}))

    def load(self) -> Saved | None:
        """Return what was saved of this training. Return None when it has to start afresh."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        state: dict[str, Any] = json.loads(path.read_text())
        if state.pop("of", None) != self.of:
            return None
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(self.folder / MOMENTS).items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        return Saved(load_file(self.folder / TENSORS), moments, state)

    def forget(self) -> None:
        """Remove what was saved, because the training has ended."""
        for name in (STATE, TENSORS, MOMENTS):
            (self.folder / name).unlink(missing_ok=True)
