"""Hold what a fine-tune needs of the program around it, and gather what it learns from."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from playground.core.rates import Rate
from playground.core.values import Pool
from playground.errors import TooOften
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings
from playground.store.label_views import labelled_pairs

if TYPE_CHECKING:
    from playground.encode.encoder import Encoder
    from playground.learn.labels.trainer import Lesson
    from playground.serving.runtime import Runtime
    from playground.serving.versions import Versions

DRAFTS_SECONDS = 3600.0
DRAFTS_OF_ALL = 4  # times what one visitor can make; each draft is kept for ever
EVERYBODY = "everybody"
_drafts = Rate(math.inf, DRAFTS_SECONDS)  # the setting has the limit


@dataclass(frozen=True, eq=False)
class Teaching:
    """Hold what a fine-tune needs of the program around it. `load_encoder` is called once a router can be taught.

    `address` is the network address of a stranger, who can make `max_drafts` in an hour. It is empty for anybody else.
    """

    versions: "Versions"
    pool: Pool
    load_encoder: "Callable[[], Encoder]"
    address: str = ""
    max_drafts: int = 0

    def require_turn(self) -> None:
        """Raise TooOften when strangers have made too many drafts lately, this one or all of them."""
        if not self.address:
            return
        now, most = time.monotonic(), self.max_drafts
        own = _drafts.wait(self.address, now, most=most)
        wait = max(own, _drafts.wait(EVERYBODY, now, most=most * DRAFTS_OF_ALL))
        if wait:
            raise TooOften("Many drafts were made here in the last hour.", f"Try again in {math.ceil(wait / 60)} min.")

    def count_draft(self) -> None:
        """Note that a draft was made."""
        if self.address:
            for key in (self.address, EVERYBODY):
                _drafts.spend(key, time.monotonic())


def teaching_of(runtime: "Runtime", *, address: str = "") -> Teaching:
    """Return what a fine-tune needs of the page's runtime. `address` is that of the visitor."""
    settings = runtime.settings
    stranger = address if settings.is_public else ""
    return Teaching(runtime.versions, runtime.pool, lambda: runtime.encoder, stranger, settings.max_drafts)


def teaching_without_model(versions: "Versions", settings: Settings) -> Teaching:
    """Return what a fine-tune needs where no language model is loaded, as on the command line."""

    def load_encoder() -> "Encoder":
        from playground.encode.encoder import Encoder  # noqa: PLC0415  (imports torch)

        return Encoder(settings)

    return Teaching(versions, load_catalogue(settings.experts_dir, settings.added_dir), load_encoder)


def gather(teaching: Teaching, encoder: "Encoder") -> "Lesson":
    """Return what a fine-tune learns from and is judged by: labels of people, ready experts, example prompts.

    Embeds each labelled prompt once: about 350 prompts a second on two cores, less those the encoder remembers.
    """
    from playground.encode.base import describe  # noqa: PLC0415  (the next two import torch)
    from playground.learn.labels import dataset  # noqa: PLC0415
    from playground.learn.labels.trainer import Lesson  # noqa: PLC0415
    from playground.routers.examples import load_examples  # noqa: PLC0415

    usable = Pool(tuple(expert for expert in teaching.pool.experts if expert.ready))
    with teaching.versions.database.read() as session:
        pairs = labelled_pairs(session)
    examples = load_examples()
    probes = [example.prompt for example in examples if example.probe]
    return Lesson(
        labels=dataset.build(pairs, encoder.encode),
        pool=usable,
        descriptors=describe(encoder, usable),
        probes=dataset.Probes(tuple(probes), encoder.encode(probes)),
        anchors=encoder.encode([example.prompt for example in examples if not example.probe]),
    )
