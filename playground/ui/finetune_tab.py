"""The Fine-tune tab: labels, a learning curve, what changed, and promoting or rolling back a version.

A fine-tune runs outside the tab. The tab looks at it twice a second, whoever began it, while it runs.
"""

import secrets
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import finetune as finetuning
from playground.actions import judgement
from playground.actions.finetune_outcome import outcome_of
from playground.errors import InvalidRequest, NotReady
from playground.ui import parts
from playground.ui.aspects_panel import AspectsPanel
from playground.ui.browser_values import pressed_id
from playground.ui.failures import guarded
from playground.ui.option_controls import OptionControls
from playground.ui.views import finetune, versions
from playground.ui.views.routers import router_choices
from playground.ui.visitors import asking_address

if TYPE_CHECKING:
    from playground.actions.finetune_job import JobState
    from playground.serving.runtime import Runtime
    from playground.ui.playground_tab import PlaygroundTab

CURVE = (
    '<section class="curve" aria-label="Learning curve"><header><h3>Learning</h3><span class="keys">'
    '<span><i class="dash"></i>training loss</span><span><i></i>validation loss</span>'
    '<button type="button" class="quiet log" aria-pressed="false">log</button>'
    '<button type="button" class="quiet curve-csv">CSV</button></span></header>'
    '<canvas role="img" aria-label="Learning curve; nothing yet"></canvas><p class="curve-words"></p>'
    '<details class="twin"><summary>show as table</summary><div></div></details></section>'
)
ADMIN_HINT = "You need the admin password to promote a version or to roll back."
LOOK_SECONDS = 0.5


class FineTuneTab:
    """The tab's components and callbacks."""

    def __init__(self, runtime: "Runtime", tabs: gr.Tabs, play: "PlaygroundTab") -> None:
        self.runtime = runtime
        self.play = play
        self.draft, self.shown, self.seen = (gr.State("", time_to_live=86400) for _ in range(3))
        self.own = gr.BrowserState("", storage_key="fine-tune", secret="fine-tune-v1")  # stable, not secret
        self.timer = gr.Timer(LOOK_SECONDS, active=False)
        with gr.Row(elem_id="tune"):
            with gr.Column(scale=0, min_width=320, elem_id="tune-controls"):
                self._draw_choices()
            with gr.Column(scale=1, min_width=320, elem_id="tune-result"):
                self.curve = parts.drawn("curve", "", CURVE, elem_id="curve")
                with gr.Row(visible=False, elem_id="decide") as self.decide:
                    self.promote = gr.Button(
                        "Promote: use this version", variant="primary", elem_id="promote", size="sm"
                    )
                    self.keep = gr.Button("Keep as a draft", elem_id="keep-draft", size="sm")
                self.outcome = parts.pressable("", elem_id="outcome")
                gr.Markdown("### Versions", elem_classes="section")
                with gr.Group(visible=False, elem_id="looked-version") as self.looked:
                    self.figures = parts.markup("", elem_id="version-figures")
                    with gr.Row():
                        self.use = gr.Button("Use this version", variant="primary", size="sm", elem_id="use-version")
                        self.beside = gr.Button("Let it decide beside", size="sm", elem_id="shadow-version")
                        self.leave = gr.Button("Close", size="sm", elem_id="close-version")
                self.versions = parts.pressable(versions.versions_html([]), elem_id="versions")
                self.shadow = parts.pressable("", elem_id="shadow")
                self.aspects = AspectsPanel(runtime)
                self.announce = parts.announcer("tune-status")
        self._wire(tabs)

    def _draw_choices(self) -> None:
        self.facts = parts.markup('<p class="hint">Counting the labels …</p>', elem_id="tune-facts")
        routers = finetuning.trainable(self.runtime) or [("Linear probe", "linear")]
        value = "linear" if "linear" in [name for _, name in routers] else routers[0][1]
        self.router = gr.Dropdown(routers, value=value, label="Router", elem_id="tune-router")
        choices, default = finetuning.objectives(self.runtime), finetuning.DEFAULT_OBJECTIVE
        self.objective = gr.Dropdown(choices, value=default, label="Objective", elem_id="tune-objective")
        self.line = parts.markup("", elem_id="objective-line")
        with gr.Accordion("Settings of the objective", open=False):
            controls = finetuning.option_controls(self.runtime, default)
            self.options = OptionControls("tune-option", controls)
        with gr.Row():
            self.run = gr.Button("Fine-tune", variant="primary", elem_id="tune-run", scale=2, min_width=120)
            self.cancel = gr.Button("Cancel", elem_id="tune-cancel", scale=1, min_width=80)
        self.resume = gr.Button("Resume", visible=False, elem_id="tune-resume", size="sm")
        settings = self.runtime.settings
        needs_password = bool(settings.admin_password) or settings.is_space
        self.password = gr.Textbox(
            label="Admin password",
            info=ADMIN_HINT,
            type="password",
            max_length=200,
            visible=needs_password,
            elem_id="admin",
        )
        self.rollback = gr.Button("Roll back to the previous version", elem_id="rollback", size="sm")

    def _wire(self, tabs: gr.Tabs) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        job = [self.curve, self.seen, self.timer, self.run, self.cancel, self.resume, self.outcome, self.decide]
        job += [self.promote, self.draft, self.versions, self.facts, self.shadow, self.announce]
        asked = [self.router, self.objective, *self.options.components]
        self.run.click(guarded(self.begin), asked, [*job, self.own], **quiet)
        self.resume.click(guarded(self.go_on), self.router, [*job, self.own], **quiet)
        self.cancel.click(guarded(self.end), [self.router, self.own, self.password, self.seen], job, **quiet)
        self.timer.tick(guarded(self.look_again), [self.router, self.seen], job, queue=False, **quiet)
        after = [self.versions, self.facts, self.shadow, self.play.router, self.decide, self.looked, self.announce]
        self.promote.click(guarded(self.put_in_force), [self.draft, self.router, self.password], after, **quiet)
        self.use.click(guarded(self.put_in_force), [self.shown, self.router, self.password], after, **quiet)
        self.beside.click(guarded(self.put_beside), [self.shown, self.router, self.password], after, **quiet)
        self.keep.click(lambda: gr.Row(visible=False), None, self.decide, **quiet)
        self.leave.click(lambda: gr.Group(visible=False), None, self.looked, **quiet)
        self.rollback.click(guarded(self.put_back), [self.router, self.password], after, **quiet)
        self.router.change(guarded(self.choose_router), self.router, [*job, self.looked], **quiet)
        drawn = [self.line, *self.options.components]
        self.objective.change(guarded(self.choose), self.objective, drawn, **quiet)
        self.arrived = [*job, self.router, self.objective, self.line]

        def pressed(router: str, event: gr.EventData) -> dict[Any, Any]:
            return self.look(pressed_id(event), router)

        def try_prompt(event: gr.EventData) -> tuple[str, gr.Tabs]:
            limit = self.runtime.settings.max_prompt_chars
            return pressed_id(event)[:limit], gr.Tabs(selected="play")

        looking = [self.looked, self.figures, self.use, self.beside, self.shown, self.announce]
        self.versions.select(guarded(pressed), self.router, looking, **quiet)
        self.aspects.wire(self.router, self.password, self.versions, lambda name: self.refresh(name)[self.versions])
        for listed in (self.outcome, self.shadow):
            listed.select(guarded(try_prompt), None, [self.play.prompt, tabs], **quiet)

    # --- the job --------------------------------------------------------------------------------------------

    def begin(self, router: str, objective: str, *given: Any) -> dict[Any, Any]:
        """Begin a fine-tune, which goes on when the page is left."""
        if not self.runtime.is_ready:
            raise NotReady("The models are still loading.", "Try again in a moment.")
        options = self.options.values(finetuning.option_controls(self.runtime, objective), given)
        address = asking_address(self.runtime.settings)
        began = finetuning.begin(self.runtime, router, objective=objective, options=options, address=address)
        return self.job(router, "") | {self.own: began.info.id, self.announce: "Fine-tuning."}

    def go_on(self, router: str) -> dict[Any, Any]:
        """Go on where the last fine-tune was cancelled or killed."""
        if not self.runtime.is_ready:
            raise NotReady("The models are still loading.", "Try again in a moment.")
        began = finetuning.resume(self.runtime, router, address=asking_address(self.runtime.settings))
        return self.job(router, "") | {self.own: began.info.id, self.announce: "Fine-tuning goes on."}

    def end(self, router: str, own: str, password: str, seen: str) -> dict[Any, Any]:
        """Cancel the fine-tune of the router, or clear one whose program was killed."""
        address = asking_address(self.runtime.settings)
        if finetuning.end(self.runtime, router, str(own or ""), password, address=address) is None:
            gr.Info("Nothing is being learned just now.", duration=3)
            return {self.announce: "Nothing is being learned just now."}
        return self.job(router, seen) | {self.announce: "Cancelled."}

    def look_again(self, router: str, seen: str) -> dict[Any, Any]:
        """Draw what is new of the fine-tune."""
        return self.job(router, seen)

    def job(self, router: str, seen: str) -> dict[Any, Any]:
        """Return what to draw of the router's last fine-tune. `seen` is what the page drew last, empty to draw all."""
        found = finetuning.job(self.runtime, router)
        key = f"{router} {found.info.id} {found.state}" if found else router
        nonce, _, drawn = (seen or "").partition("|")
        now = f"{key} {len(found.info.curve) if found else 0}"
        if drawn == now:
            return {self.seen: seen}
        is_same = bool(drawn) and drawn.rpartition(" ")[0] == key
        nonce = nonce if is_same else secrets.token_hex(4)
        value: dict[Any, Any] = {self.curve: finetune.job_lines(found, nonce), self.seen: f"{nonce}|{now}"}
        return value if is_same else value | self._state(router, found)

    def _state(self, router: str, found: "JobState | None") -> dict[Any, Any]:
        """Return what changes when a fine-tune begins or ends: buttons, outcome, versions."""
        state = found.state if found else ""
        value: dict[Any, Any] = {
            self.timer: gr.Timer(active=state == "running"),
            self.run: gr.Button(interactive=state != "running"),
            self.cancel: gr.Button("Clear" if state == "stopped" else "Cancel"),
            self.resume: gr.Button(visible=found is not None and found.can_resume),
            self.outcome: "",
            self.decide: gr.Row(visible=False),
            **self.refresh(router),
        }
        if found is None or state != "done":
            return value
        result = outcome_of(found.info.outcome)
        made = next((one for one in finetuning.history(self.runtime, router) if one.id == found.info.version), None)
        if result is None or made is None:
            return value
        rule = judgement.rule_of(self.runtime, made)
        passes = rule is not None and rule.passes
        words = f"Done: a draft of {result.router}. {result.moved} of {result.probes} test prompts change experts."
        return value | {
            self.outcome: finetune.outcome_html(result, self.runtime.pool, versions.rule_html(rule)),
            self.decide: gr.Row(visible=made.state == "draft"),
            self.promote: gr.Button("Promote: use this version" if passes else "Promote although the rule fails"),
            self.draft: result.version,
            self.announce: words,
        }

    # --- versions -------------------------------------------------------------------------------------------

    def refresh(self, router: str) -> dict[Any, Any]:
        """Return the versions of the chosen router, the facts of its labels and its shadow."""
        listed = finetuning.history(self.runtime, router)
        current = next((version.id for version in listed if version.is_current), "")
        report = judgement.shadow_report(self.runtime, router)
        labels = judgement.labels_of(self.runtime, router)
        return {
            self.versions: versions.versions_html(listed, labels, report.version if report else ""),
            self.facts: finetune.facts_html(finetuning.count_labels(self.runtime), current),
            self.shadow: versions.shadow_html(report, self.runtime.pool),
        }

    def choose_router(self, router: str) -> dict[Any, Any]:
        """Show the versions and the last fine-tune of another router."""
        return self.job(router, "") | {self.looked: gr.Group(visible=False)}

    def look(self, version: str, router: str) -> dict[Any, Any]:
        """Show the stored figures of a version, and ask before it is used. Raise InvalidRequest for an unknown one."""
        found = next((known for known in finetuning.history(self.runtime, router) if known.id == version), None)
        if found is None:
            raise InvalidRequest("This version is not there any more.", "Reload the page.")
        judged = judgement.judge(self.runtime, router, version)
        told = versions.rule_html(judged.rule) + versions.value_html(judged)
        is_beside = self.runtime.versions.shadow(router) == version
        return {
            self.looked: gr.Group(visible=True),
            self.figures: versions.version_html(found, finetuning.figures_of(found)) + told,
            self.use: gr.Button(visible=not found.is_current),
            self.beside: gr.Button(
                "End its shadow" if is_beside else "Let it decide beside", visible=not found.is_current
            ),
            self.shown: found.id,
            self.announce: f"Figures of the version {found.id}.",
        }

    def describe(self, objective: str) -> str:
        """Return one line on the chosen objective."""
        return f'<p class="hint">{escape(finetuning.objective_line(self.runtime, objective))}</p>'

    def choose(self, objective: str) -> dict[Any, Any]:
        """Draw what an objective does, and its options."""
        controls = finetuning.option_controls(self.runtime, objective)
        return {self.line: self.describe(objective), **self.options.updates(controls)}

    def arrive(self, router: str, objective: str) -> dict[Any, Any]:
        """Return what the tab shows when it is opened: the last fine-tune, versions, and menus once models load."""
        routers = finetuning.trainable(self.runtime)
        value = self.job(router, "")
        if routers:
            value |= {self.router: gr.Dropdown(choices=routers)}
            value |= {self.objective: gr.Dropdown(choices=finetuning.objectives(self.runtime))}
            value |= {self.line: self.describe(objective)}
        return value

    def _decided(self, router: str, sentence: str) -> dict[Any, Any]:
        gr.Info(sentence, duration=4)
        return {
            **self.refresh(router),
            self.play.router: gr.HTML(choices=router_choices(self.runtime.routers())),
            self.decide: gr.Row(visible=False),
            self.looked: gr.Group(visible=False),
            self.announce: sentence,
        }

    def put_in_force(self, version: str, router: str, password: str) -> dict[Any, Any]:
        """Promote `version`."""
        finetuning.promote(self.runtime, version, password, address=asking_address(self.runtime.settings))
        return self._decided(router, "This version is in use now. Roll back returns to the previous one.")

    def put_beside(self, version: str, router: str, password: str) -> dict[Any, Any]:
        """Let `version` decide beside the one in use, or end that."""
        address = asking_address(self.runtime.settings)
        is_on = judgement.set_shadow(self.runtime, router, version, password, address=address)
        sentence = "It decides beside each run now, and answers nobody." if is_on else "It decides no more."
        gr.Info(sentence, duration=4)
        return self.refresh(router) | {self.looked: gr.Group(visible=False), self.announce: sentence}

    def put_back(self, router: str, password: str) -> dict[Any, Any]:
        """Roll back to the previous version."""
        finetuning.roll_back(self.runtime, router, password, address=asking_address(self.runtime.settings))
        return self._decided(router, "The previous version is in use again.")
