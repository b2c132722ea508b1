"""`routers`: everything that can be picked to route a prompt."""

from dataclasses import asdict

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import ready_runtime


def routers(as_json: JsonFlag = False) -> None:
    """List the routers, with where they come from, what they were trained on and whether they are ready."""
    with replying(as_json) as reply:
        found = ready_runtime(reply).routers()
        reply.value = {"routers": [asdict(router) for router in found]}
        reply.table(
            [
                {
                    "name": router.name,
                    "level": router.level,
                    "ready": "yes" if router.ready else f"no: {router.reason}",
                    "title": router.title,
                    "trained from": router.trained_from,
                    "figure": router.figure,
                }
                for router in found
            ]
        )
