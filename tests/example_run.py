"""Records the run that the page shows at first: `python -m tests.example_run`. Needs the network on a first start.

The prompt is that of the screenshots. Run it again when runs tell something new, such as their evidence.
"""

import tempfile
from pathlib import Path

from playground.actions.ask import DEFAULTS, read_observe
from playground.actions.examples import EXAMPLE_RUN
from playground.core.events import Event, Failed, events_to_json
from playground.core.values import RunRequest
from playground.serving.runtime import Runtime
from playground.settings import Settings
from tests.screenshots import PROMPT

ROUTER = "lora_mixer"
OBSERVED = (10, 3)  # layer and head, as the page counts
WAIT_SECONDS = 600.0


def record() -> list[Event]:
    """Run the prompt with the page's own defaults. Raise RuntimeError when the run fails."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(Settings(data_dir=Path(folder), database_url=""))
        try:
            runtime.start()
            runtime.wait(WAIT_SECONDS)
            request = RunRequest(PROMPT, ROUTER, sampling=DEFAULTS, observe=read_observe(*OBSERVED))
            events = list(runtime.run(request))
        finally:
            runtime.close()
    failed = [event for event in events if isinstance(event, Failed)]
    if failed:
        raise RuntimeError(f"The run failed: {failed[0].message}")
    return events


if __name__ == "__main__":
    EXAMPLE_RUN.write_text(events_to_json(record()), encoding="utf-8")
    print(f"recorded {EXAMPLE_RUN.name}")
