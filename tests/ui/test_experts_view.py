"""Expert cards and checklists: what is on them, and that hostile texts stay texts."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from typing import Any

import numpy as np
import pytest

from playground.actions.experts import example_prompt
from playground.core.checklist import Checklist, Line
from playground.core.daily import daily_use
from playground.core.values import Expert
from playground.experts.adapters.facts import AdapterFacts, FileFact
from playground.ui.experts_tab import serving_router
from playground.ui.views.experts import checklist_html, experts_html
from playground.ui.views.routers import router_choices

PAYLOAD = "<img src=x onerror=alert(1)>\"'"
ADDED = Expert(
    "poems", "lora", "Sea poems", "Writes poems.", "Se", 6, licence="CC BY-NC 4.0", is_added=True, source="me/poems"
)
FILE = FileFact("w.safetensors", 1_874_312, "ab" * 32)
FACTS = AdapterFacts(8, 16.0, True, ("q_proj", "v_proj"), "org/Base", (FILE,))


def test_a_card_tells_the_licence_the_lora_and_the_files() -> None:
    html = experts_html([ADDED], {"poems": FACTS}, can_remove=True)
    for told in (
        "CC BY-NC 4.0",
        "1.9 MB",
        "rank 8, alpha 16, rank-stabilised",
        "q_proj, v_proj",
        "me/poems",
        "ab" * 32,
    ):
        assert told in html
    assert 'data-id="remove/poems"' in html
    assert 'data-id="remove/' not in experts_html([ADDED], {}, can_remove=False)
    assert 'data-id="remove/' not in experts_html([replace(ADDED, is_added=False)], {}, can_remove=True)


@pytest.mark.parametrize(
    ("licence", "warns"),
    [
        ("CC BY-NC 4.0", True),
        ("cc-by-nc-sa-4.0", True),
        ("Adapter Apache-2.0. Data: non-commercial research only.", True),
        ("Apache-2.0", False),
        ("NCSA", False),
        ("not stated", False),
    ],
)
def test_a_licence_against_commercial_use_is_said_aloud(licence: str, warns: bool) -> None:
    assert ("Non-commercial" in experts_html([replace(ADDED, licence=licence)], {})) is warns


def test_hostile_cards_and_checklists_stay_text() -> None:
    hostile = replace(
        ADDED,
        title=PAYLOAD,
        description=PAYLOAD,
        mark=PAYLOAD[:3],
        licence=PAYLOAD,
        trained_on=PAYLOAD,
        figure=PAYLOAD,
        examples=(PAYLOAD,),
        source=PAYLOAD,
        ready=False,
        reason=PAYLOAD,
    )
    facts = replace(FACTS, targets=(PAYLOAD,), base=PAYLOAD, files=(FileFact(PAYLOAD, 1, PAYLOAD),))
    checklist = Checklist((Line(PAYLOAD, "fail", PAYLOAD, PAYLOAD),))
    for html in (experts_html([hostile], {"poems": facts}, can_remove=True), checklist_html(checklist, PAYLOAD)):
        assert "<img" not in html
        assert not re.search(r"""="[^"]*<""", html)


def test_folders_of_the_server_are_not_shown() -> None:
    assert "/srv/private" not in experts_html([replace(ADDED, source="/srv/private/poems")], {})


def test_a_checklist_says_states_in_words_and_the_remedy() -> None:
    lines = (Line("Kind", "pass", "a plain LoRA."), Line("Shapes", "fail", "too wide.", "Use another."))
    html = checklist_html(Checklist(lines), "poems.zip")
    assert "poems.zip</b> cannot be added" in html
    assert "passed:" in html
    assert "failed:" in html
    assert "Use another." in html
    assert "can be added" in checklist_html(Checklist(lines[:1]), "poems.zip")


def test_an_example_is_found_by_what_was_pressed(runtime: Any) -> None:
    assert example_prompt(runtime.pool, "math:0") == "Tom has 3 apples and eats one."
    for nothing in ("math:9", "math", "nobody:0", "", "remove/math"):
        assert example_prompt(runtime.pool, nothing) == ""


def test_the_router_menu_says_what_a_router_was_not_trained_with(runtime: Any) -> None:
    told = router_choices(runtime.routers())[0]["line"]
    noted = type("Info", (), {**vars(runtime.routers()[0]), "note": "It was not trained with Poems."})()
    assert router_choices([noted])[0]["line"] == f"{told} It was not trained with Poems."


def test_a_card_shows_its_share_of_use_by_day() -> None:
    runs = [(datetime(2026, 3, 1, tzinfo=UTC), ("poems", "base"), np.array([share, 1 - share])) for share in (0.5, 1)]
    runs.append((datetime(2026, 2, 27, tzinfo=UTC), ("base",), np.ones(1)))
    use = daily_use(runs, date(2026, 3, 1))
    html = experts_html([ADDED], {}, use=use)
    told = json.loads(unescape(re.findall(r'data-use="([^"]*)"', html)[0]))
    assert told["shares"] == [0, 0, 0, 0, 0, 0, 0.75]
    assert told["runs"] == [0, 0, 0, 0, 1, 0, 2]
    assert told["days"][-3:] == ["27 Feb", "28 Feb", "01 Mar"]
    assert (told["highest"], told["overall"]) == (1, 0.5)
    assert "not used in 7 days" in experts_html([replace(ADDED, name="other")], {}, use=use)
    assert "daily-use" not in experts_html([ADDED], {})


def test_a_tried_expert_keeps_a_router_that_reads_the_prompt(runtime: Any) -> None:
    assert serving_router(runtime, "linear") == "linear"
    for other in ("lora_mixer", "nobody", None):
        assert serving_router(runtime, other) == "knn"
