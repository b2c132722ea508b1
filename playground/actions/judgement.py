"""Judge a stored version: the promotion rule, the labels that made it, and what logged decisions say about it."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from playground.actions.identity import require_admin
from playground.core.records import LabelsOf, ShadowDecision, VersionInfo
from playground.core.values import Context, Pool
from playground.encode.base import describe
from playground.errors import InvalidRequest
from playground.learn.estimates.off_policy import LoggedRows, OffPolicyValue, mean_rewards, off_policy_value
from playground.learn.estimates.promotion import PromotionRule, promotion_rule
from playground.learn.labels.metrics import stored_metrics
from playground.store.decisions import SampledAnswer, sampled_answers, shadow_decisions
from playground.store.trainings import labels_of_versions
from playground.store.versions import looks_at

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime


SHOWN = 20
MANY_PEOPLE = 20  # from so many on, an interval over people can be trusted
RANDOM_RIVAL = "beats the answer of another expert, drawn at random"
SAME_RIVAL = "beats the answer that stood beside the drawn one"


@dataclass(frozen=True)
class Judgement:
    """Hold what speaks for and against a version beside the one in force.

    `rule` is None for a version that was not fine-tuned. `values` has, for each kind of logged answers there are, the
    words for its reward, the value of the version and that of the one in force.
    """

    rule: PromotionRule | None
    values: tuple[tuple[str, OffPolicyValue, OffPolicyValue], ...]


def labels_of(runtime: "Runtime", router: str) -> dict[str, LabelsOf]:
    """Return, by version of `router`, the labels that made it. Empty while models load."""
    if not runtime.is_ready:
        return {}
    with runtime.database.read() as session:
        return labels_of_versions(session, router)


def rule_of(runtime: "Runtime", version: VersionInfo) -> PromotionRule | None:
    """Return the promotion rule for a version. Return None for one without figures."""
    metrics = stored_metrics(version.metrics)
    if not {"log_loss", "label_accuracy"} <= set(metrics):
        return None
    with runtime.database.read() as session:
        looks = looks_at(session, version.id)
    cap = version.config.get("options", {}).get("cap")
    return promotion_rule(metrics, kl=version.metrics.get("kl"), cap=cap, looks=looks)


def judge(runtime: "Runtime", router: str, version: str) -> Judgement:
    """Return what speaks for and against `version`, beside the version in force. Raise InvalidRequest.

    Embeds every prompt with a sampled and labelled answer once.
    """
    versions = runtime.versions
    found = next((one for one in versions.history(router) if one.id == version), None)
    if found is None:
        raise InvalidRequest("This version is not there any more.", "Reload the page.")
    with runtime.database.read() as session:
        answers = sampled_answers(session)
    values = []
    for words, is_pair in ((RANDOM_RIVAL, True), (SAME_RIVAL, False)):
        kind = [answer for answer in answers if answer.is_pair is is_pair]
        if kind:
            both = [value_of(runtime, router, each, kind) for each in (version, versions.current(router))]
            values.append((words, both[0], both[1]))
    return Judgement(rule_of(runtime, found), tuple(values))


def value_of(runtime: "Runtime", router: str, version: str, answers: list[SampledAnswer]) -> OffPolicyValue:
    """Return how often the answers of `version` would have won, from answers that were drawn and then judged.

    The other answer of each comparison stays as it was. A prompt whose experts the pool has no more is left out.
    """
    from playground.routers.base import Policy  # noqa: PLC0415  (imports torch)

    policy, _ = runtime.versions.load(router, version)
    encoder = runtime.encoder
    names = list(dict.fromkeys(name for answer in answers for name in answer.experts))
    known = set(runtime.pool.names)
    usable = [answer for answer in answers if set(answer.experts) <= known] if isinstance(policy, Policy) else []
    described: dict[tuple[str, ...], tuple[Pool, np.ndarray]] = {}
    target = np.zeros((len(usable), len(names)))
    vectors = encoder.encode([answer.prompt for answer in usable]) if usable else np.zeros((0, 1))
    for row, (answer, vector) in enumerate(zip(usable, vectors, strict=True)):
        if answer.experts not in described:
            pool = runtime.pool.select(answer.experts)
            described[answer.experts] = pool, describe(encoder, pool)
        pool, descriptors = described[answer.experts]
        context = Context(prompt=answer.prompt, pool=pool, embedding=vector, descriptors=descriptors)
        weights = policy.decide(context).weights  # type: ignore[attr-defined]
        target[row, [names.index(name) for name in pool.names]] = weights
    taken = np.array([names.index(answer.taken) for answer in usable], int)
    reward = np.array([answer.reward for answer in usable], float)
    return off_policy_value(
        LoggedRows(
            reward=reward,
            taken=taken,
            propensity=np.array([answer.propensity for answer in usable], float),
            target=target,
            model=mean_rewards(reward, taken, [answer.prompt for answer in usable], len(names)),
            cluster=np.array(_clusters(usable), dtype=str),
        )
    )


def _clusters(answers: list[SampledAnswer]) -> list[str]:
    """Return what makes answers depend on one another: the person, or with few people the prompt."""
    people = [answer.labeller for answer in answers]
    return people if len(set(people)) >= MANY_PEOPLE else [answer.prompt for answer in answers]


@dataclass(frozen=True)
class ShadowReport:
    """Hold where a shadow version would have decided otherwise.

    `runs` counts the runs beside which it decided, `differing` those for which it would have asked another expert.
    `flows` counts (served expert, shadow's expert). `decisions` are those that differ, newest first; empty where a
    visitor may not see other visitors' prompts.
    """

    version: str
    runs: int
    differing: int
    flows: tuple[tuple[str, str, int], ...]
    decisions: tuple[ShadowDecision, ...]


def shadow_report(runtime: "Runtime", router: str) -> ShadowReport | None:
    """Return what the shadow of `router` decided so far. Return None without a shadow, and while models load."""
    version = runtime.versions.shadow(router) if runtime.is_ready else None
    if version is None:
        return None
    with runtime.database.read() as session:
        found = shadow_decisions(session, version)
    differing = [one for one in found if one.differs]
    flows = Counter((one.top(one.served), one.top(one.shadowed)) for one in differing)
    listed = tuple((old, new, count) for (old, new), count in flows.most_common())
    shown = () if runtime.settings.is_public else tuple(differing[:SHOWN])
    return ShadowReport(version, len(found), len(differing), listed, shown)


def set_shadow(runtime: "Runtime", router: str, version: str, password: str, *, address: str = "") -> bool:
    """Let `version` decide beside the one in force, or end that when it does. Return whether it does now.

    Raise NotPermitted, InvalidRequest.
    """
    require_admin(runtime.settings, password, address=address)
    is_on = runtime.versions.shadow(router) != version
    runtime.versions.set_shadow(router, version if is_on else None)
    return is_on
