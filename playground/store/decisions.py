"""Read logged decisions: answers that were drawn with a known probability and then judged by a person."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from playground.core.records import ShadowDecision
from playground.store.arrays import unpack
from playground.store.label_views import current_labels
from playground.store.tables import DecisionRow, PoolRow, PromptRow, RunRow

DRAWN = ("sample", "slate")
CHUNK = 500


@dataclass(frozen=True)
class SampledAnswer:
    """Hold one answer that was drawn: among which experts, which one, how likely, and what a person made of it.

    `reward` is the probability that it beats the answer beside it, as the verdict means: 0.5 for a tie. `is_pair` says
    that the pair was drawn, so the answer beside it comes from another expert at random.
    """

    prompt: str
    experts: tuple[str, ...]
    taken: str
    propensity: float
    reward: float
    labeller: str
    is_pair: bool = False


def sampled_answers(session: Session) -> list[SampledAnswer]:
    """Return every drawn answer of a usable label of people, oldest label first. A label may have two of them.

    A router drew it, or the whole pair was drawn uniformly: then each side is one expert of the E, with propensity 1/E.
    An answer that a person chose, that was blended, or that the heaviest expert gave anyway says nothing about others,
    so it is left out.
    """
    labels = [
        row
        for row in current_labels(session, source="human", oldest_first=True)
        if row.verdict.target is not None and row.selection not in ("check", "duplicate")
    ]
    drawn = _propensities(session, sorted({side.run_id for row in labels for side in (row.a, row.b)}))
    found = []
    for row in labels:
        target = row.verdict.target or 0.0
        for side, reward in ((row.a, target), (row.b, 1.0 - target)):
            is_pair = row.selection == "uniform" and row.pair_propensity is not None
            propensity = 1 / len(side.experts) if is_pair else drawn.get(side.run_id)
            if propensity is not None and side.expert:
                answer = SampledAnswer(
                    row.prompt, side.experts, side.expert, propensity, reward, row.labeller_id, is_pair
                )
                found.append(answer)
    return found


def _propensities(session: Session, runs: list[str]) -> dict[str, float]:
    """Return the probability of the expert that answered, by run. Runs whose expert was not drawn are left out."""
    found: dict[str, float] = {}
    for start in range(0, len(runs), CHUNK):
        query = select(DecisionRow.run_id, DecisionRow.propensity).where(
            col(DecisionRow.run_id).in_(runs[start : start + CHUNK]),
            col(DecisionRow.scheme).in_(DRAWN),
            col(DecisionRow.step) == 0,
        )
        found |= {run: value for run, value in session.exec(query) if value is not None}
    return found


def shadow_decisions(session: Session, shadow: str, limit: int = 2000) -> list[ShadowDecision]:
    """Return the newest decisions that `shadow` made beside another version, newest first."""
    query = (
        select(DecisionRow, RunRow.router_version_id, PoolRow.names, PromptRow.text)
        .join(RunRow, col(RunRow.id) == col(DecisionRow.run_id))
        .join(PoolRow, col(PoolRow.id) == col(RunRow.pool_id))
        .join(PromptRow, col(PromptRow.id) == col(RunRow.prompt_id))
        .where(DecisionRow.explanation["shadow"]["version"].as_string() == shadow)  # type: ignore[index]
        .where(col(RunRow.deleted_at).is_(None))
        .order_by(col(DecisionRow.id).desc())
        .limit(limit)
    )
    return [
        ShadowDecision(
            run_id=row.run_id,
            prompt=prompt,
            version=version,
            shadow=shadow,
            experts=tuple(names),
            served=tuple(map(float, unpack(row.weights))),
            shadowed=tuple(map(float, row.explanation["shadow"]["weights"])),
        )
        for row, version, names, prompt in session.exec(query)
    ]
