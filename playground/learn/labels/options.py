"""The options that every label objective has. No torch is imported: the page draws these before models load."""

from pydantic import Field

from playground.options import Options


class LabelObjectiveOptions(Options):
    """Settings of a label objective. Each is drawn as a control on the page and taken as `--option name=value`."""

    beta: float = Field(
        0.1, ge=0.1, le=10.0, description="How far labels move the routing: a lower value moves it further."
    )
    ridge: float = Field(0.1, ge=0.01, le=100.0, description="How strongly to stay near the current version.")
    cap: float = Field(0.5, gt=0.0, le=10.0, description="How far routing may move on average, in nats of KL.")
