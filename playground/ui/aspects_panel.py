"""The dial of the Fine-tune tab: two reasons of the votes, the routed mix between them, and what can be reached."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import aspects
from playground.actions.identity import require_admin
from playground.errors import InvalidRequest, NotReady
from playground.ui import parts
from playground.ui.failures import guarded
from playground.ui.views import aspects as views
from playground.ui.visitors import asking_address

if TYPE_CHECKING:
    from playground.actions.aspects import AspectDial
    from playground.serving.runtime import Runtime


class AspectsPanel:
    """The panel's components and callbacks."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime
        self.dial = gr.State(None, time_to_live=3600)
        with gr.Accordion("Dial: weigh two reasons of the votes", open=False, elem_id="aspects") as self.panel:
            self.hint = parts.markup(views.hint_html([]), elem_id="aspects-hint")
            with gr.Row():
                self.first = gr.Dropdown([], label="At 0°", elem_id="aspect-first")
                self.second = gr.Dropdown([], label="At 90°", elem_id="aspect-second")
                self.learn = gr.Button("Learn both", elem_id="aspects-learn", interactive=False)
            with gr.Column(visible=False) as self.result:
                self.angle = gr.Slider(0, 90, 45, step=5, label="Dial, in degrees", elem_id="aspects-angle")
                self.mix = parts.markup("", elem_id="aspects-mix")
                self.front = gr.Plot(show_label=False, elem_id="aspects-front")
                self.keep = gr.Button("Keep this setting as a draft", size="sm", elem_id="aspects-keep")

    def wire(self, router: gr.Dropdown, password: gr.Textbox, versions: gr.HTML, refresh: Any) -> None:
        """Connect the panel. `refresh(router)` returns what to show in `versions` after a draft was made."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.panel.expand(guarded(self.arrive), None, [self.hint, self.first, self.second, self.learn], **quiet)
        shown = [self.dial, self.result, self.mix, self.front, self.angle]
        asked = [router, self.first, self.second]
        self.learn.click(guarded(self.learned), asked, shown, api_visibility="private")
        self.angle.change(guarded(self.turn), [self.dial, self.angle], [self.mix, self.front], **quiet)
        router.change(lambda: (None, gr.Column(visible=False)), None, [self.dial, self.result], **quiet)

        def kept(dial: "AspectDial | None", angle: float, secret: str) -> str:
            settings = self.runtime.settings
            if settings.is_public:
                require_admin(settings, secret, address=asking_address(settings))
            if dial is None:
                raise InvalidRequest("The dial was closed.", "Press Learn both.")
            aspects.keep_setting(self.runtime, dial, angle)
            gr.Info("The setting is a draft now. Look at it in the list of versions.", duration=4)
            found: str = refresh(dial.router)
            return found

        self.keep.click(guarded(kept), [self.dial, self.angle, password], versions, **quiet)

    def arrive(self) -> dict[Any, Any]:
        """Return the reasons there are, and whether there are enough of two."""
        counts = aspects.reasons(self.runtime)
        usable = [(f"{name} · {count} votes", name) for name, count in counts if count >= aspects.LEAST_LABELS]
        value: dict[Any, Any] = {
            self.hint: views.hint_html(counts),
            self.learn: gr.Button(interactive=len(usable) > 1),
        }
        for menu, place in ((self.first, 0), (self.second, 1)):
            value[menu] = gr.Dropdown(choices=usable, value=usable[place][1] if len(usable) > place else None)
        return value

    def learned(self, router: str, first: str, second: str) -> dict[Any, Any]:
        """Teach both aspects and show the dial."""
        if not self.runtime.is_ready:
            raise NotReady("The models are still loading.", "Try again in a moment.")
        dial = aspects.open_dial(self.runtime, router, str(first or ""), str(second or ""))
        drawn = {self.dial: dial, self.result: gr.Column(visible=True), self.angle: gr.Slider(value=45)}
        return drawn | dict(zip((self.mix, self.front), self.turn(dial, 45), strict=True))

    def turn(self, dial: "AspectDial | None", angle: float) -> tuple[Any, Any]:
        """Return the mix and the picture at an angle."""
        if dial is None:
            return gr.skip(), gr.skip()
        return views.mix_html(dial, angle, self.runtime.pool), views.front_figure(dial, angle)
