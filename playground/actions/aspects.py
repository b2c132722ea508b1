"""Let a person weigh two reasons of the votes against each other, and keep the setting as a draft version.

For each reason the router is taught by the labels that name it, as any fine-tune does. The dial goes between the two.
"""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.actions.teaching import Teaching, gather, teaching_of
from playground.errors import InvalidRequest
from playground.learn.aspects.dial import at_angle, averages, disagreeing, sweep, turned
from playground.learn.aspects.pareto import pareto_set
from playground.store.label_views import current_labels

if TYPE_CHECKING:
    from playground.learn.labels.metrics import Figure
    from playground.learn.labels.trainer import Lesson, Taught
    from playground.routers.base import Policy
    from playground.serving.runtime import Runtime

LEAST_LABELS = 20  # that name a reason; with fewer the dial would turn noise
ANGLES = tuple(range(0, 91, 5))
BETA = 0.25  # how little the dial is followed; the scores have a standard deviation of 1
OBJECTIVE = "bt"
CAP_NATS = 10.0  # the dial itself says how far to go
MOST_OFF = 1e-3  # of a weight: more, and the router is not linear in its parameters


@dataclass(frozen=True, eq=False)
class AspectDial:
    """Hold two aspects of a router, learned from labels, on the example prompts.

    `reference` (N, E) are the weights now, `scores` (N, E, 2) the aspects. `clashing` (N,) are prompts on which the
    aspects disagree. `agreements` say how well each aspect agrees with its own held-out labels. `front` (M, 2) are the
    best reachable averages, `path` (A, 2) those at the angles.
    """

    router: str
    parent_id: str
    reasons: tuple[str, str]
    labels: tuple[int, int]
    agreements: "tuple[Figure, Figure]"
    experts: tuple[str, ...]
    prompts: tuple[str, ...]
    reference: np.ndarray
    scores: np.ndarray
    clashing: np.ndarray
    front: np.ndarray
    path: np.ndarray
    parent: "Policy"
    policies: "tuple[Policy, Policy]"
    spreads: tuple[float, float]

    def mix(self, degrees: float) -> np.ndarray:
        """Return the mean weights (E,) at an angle over the prompts on which the aspects disagree."""
        return np.asarray(self.weights(degrees)[self.clashing].mean(axis=0))

    def weights(self, degrees: float) -> np.ndarray:
        """Return the weights (N, E) at an angle: 0 is the first reason alone, 90 the second alone."""
        return turned(self.reference, self.scores, at_angle(degrees), beta=BETA)

    def averages(self, degrees: float) -> np.ndarray:
        """Return the mean score (2,) of each aspect at an angle."""
        return averages(self.weights(degrees), self.scores)


def reasons(runtime: "Runtime") -> list[tuple[str, int]]:
    """Return (reason, number of usable labels that name it), most named first."""
    with runtime.database.read() as session:
        rows = current_labels(session, source="human")
    counts = Counter(tag for row in rows if row.verdict.choice in ("a", "b") for tag in row.tags)
    return counts.most_common()


def open_dial(runtime: "Runtime", router: str, first: str, second: str) -> AspectDial:
    """Teach the router each of two reasons and return the dial between them.

    Raise InvalidRequest for equal reasons, for one that too few labels name, for a router without a dial, and when the
    aspects disagree on no example prompt.
    """
    if first == second:
        raise InvalidRequest("Both aspects are the same.", "Choose two different ones.")
    counts = dict(reasons(runtime))
    for reason in (first, second):
        if counts.get(reason, 0) < LEAST_LABELS:
            raise InvalidRequest(
                f"Only {counts.get(reason, 0)} votes give the reason “{reason[:40]}”.",
                f"At least {LEAST_LABELS} are needed. Name reasons when you vote.",
            )
    return dial_of(teaching_of(runtime), router, (first, second))


def dial_of(teaching: Teaching, router: str, chosen: tuple[str, str]) -> AspectDial:
    """Return the dial between two reasons. Raise what `open_dial` raises, except for the number of labels."""
    from playground.learn.labels.trainer import log_weights, require_teachable  # noqa: PLC0415  (imports torch)
    from playground.routers.base import ROUTERS, Policy  # noqa: PLC0415

    require_teachable(ROUTERS.get(router))
    parent, parent_id = teaching.versions.load(router)
    if not isinstance(parent, Policy) or not parent.parameters():
        raise InvalidRequest(f"The router {parent.spec.title!r} has no dial.", "Choose the linear probe.")
    lesson = gather(teaching, teaching.load_encoder())
    prompts, vectors = lesson.probes.prompts, lesson.probes.embeddings
    before = log_weights(parent, prompts, vectors, lesson)
    taught = [_taught(teaching, parent, lesson, reason) for reason in chosen]
    raw = np.stack([log_weights(one.policy, prompts, vectors, lesson) - before for one, _ in taught], axis=2)
    centred = raw - raw.mean(axis=1, keepdims=True)
    spreads = centred.std(axis=(0, 1))
    if not (spreads > 0).all():
        raise InvalidRequest("One of the aspects changes no weight.", "Choose another one.")
    scores, reference = centred / spreads, np.exp(before)
    middle = turned(reference, scores, at_angle(45), beta=BETA)
    clashing = disagreeing(middle, scores)
    if not clashing.any():
        raise InvalidRequest("These two aspects never disagree.", "There is nothing to weigh. Choose other aspects.")
    return AspectDial(
        router=router,
        parent_id=parent_id,
        reasons=chosen,
        labels=(taught[0][1], taught[1][1]),
        agreements=(taught[0][0].metrics["label_accuracy"].after, taught[1][0].metrics["label_accuracy"].after),
        experts=parent.experts,
        prompts=prompts,
        reference=reference,
        scores=scores,
        clashing=clashing,
        front=np.array([member.averages for member in pareto_set(scores)]),
        path=sweep(reference, scores, ANGLES, beta=BETA),
        parent=parent,
        policies=(taught[0][0].policy, taught[1][0].policy),
        spreads=(float(spreads[0]), float(spreads[1])),
    )


def keep_setting(runtime: "Runtime", dial: AspectDial, degrees: float) -> str:
    """Store the dial's setting as a draft version and return its id.

    Log weights are linear in the parameters of a linear router, so the setting is one: theta_ref + sum_k v_k / (beta
    spread_k) (theta_k - theta_ref). Raise InvalidRequest for a router where that does not hold.
    """
    import torch  # noqa: PLC0415

    from playground.learn.labels.fitting import trainable  # noqa: PLC0415  (imports torch)

    policy = copy.deepcopy(dial.parent)
    direction = at_angle(degrees)
    with torch.no_grad():
        for share, spread, taught in zip(direction, dial.spreads, dial.policies, strict=True):
            for kept, reached, began in zip(trainable(policy), trainable(taught), trainable(dial.parent), strict=True):
                kept.add_(float(share) / (BETA * spread) * (reached - began))
        vectors = torch.from_numpy(runtime.encoder.encode(list(dial.prompts)))
        found = policy.log_policy(vectors)
    if found is None or np.abs(np.exp(found.numpy()) - dial.weights(degrees)).max() > MOST_OFF:
        raise InvalidRequest("This router cannot keep a setting of the dial.", "Choose the linear probe.")
    first, second = dial.reasons
    return runtime.versions.create(
        policy,
        parent=dial.parent_id,
        metrics={},
        labels_hash="",
        note=f"dial at {degrees:.0f}°: 0 is “{first}”, 90 is “{second}”",
        config={"aspects": list(dial.reasons), "degrees": float(degrees), "beta": BETA},
        encoder=f"{runtime.encoder.name}@{runtime.encoder.revision}",
    )


def _taught(teaching: Teaching, parent: "Policy", lesson: "Lesson", reason: str) -> "tuple[Taught, int]":
    """Return the router taught by the labels that name a reason, and their number. Raise InvalidRequest for too few."""
    from playground.learn.labels import dataset  # noqa: PLC0415  (the next three import torch)
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415
    from playground.learn.labels.trainer import Lesson, Taught, begin_training, train  # noqa: PLC0415

    with teaching.versions.database.read() as session:
        named = {row.label_id for row in current_labels(session, source="human") if reason in row.tags}
    place = np.array([i for i, pair in enumerate(lesson.labels.pairs) if pair.label_id in named], np.intp)
    labels = dataset.take(lesson.labels, place)
    own = Lesson(labels, lesson.pool, lesson.descriptors, lesson.probes, lesson.anchors)
    kind: Any = LABEL_OBJECTIVES.get(OBJECTIVE)
    *_, done = train(begin_training(parent, own), kind(kind.Options.of({"cap": CAP_NATS})))
    if not isinstance(done, Taught):
        raise TypeError("a training ended without a policy")
    return done, len(labels)
