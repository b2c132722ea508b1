"""Makes the documentation page on endpoints from their methods: `python -m playground.ui.document`."""

import inspect
from typing import get_type_hints

from playground.ui.endpoints import Endpoints

HEAD = """# Endpoints

Every named endpoint of the page, for `gradio_client` and curl. They do what the tabs do. This page is made from the
code: `python -m playground.ui.document > playground/docs/endpoints.md`.

```python
from gradio_client import Client

client = Client("http://127.0.0.1:7860")
answer = client.predict("What is 17% of 2,340?", "knn", api_name="/ask")
print(answer["answer"], answer["weights"])
```

An error is one sentence on what happened and one on what to do. Endpoints marked "host only" need the admin
password when `PLAYGROUND_ADMIN_PASSWORD` is set; on a Space without one they are refused. A stream gives its values one
by one; read it with `client.submit(…)`.
"""


def endpoints_markdown() -> str:
    """Return the page: one section for each endpoint, in the order of the class."""
    methods = {name: method for name, method in vars(Endpoints).items() if not name.startswith("_")}
    return "\n".join([HEAD, *(_section(name, method) for name, method in methods.items())])


def _section(name: str, method: object) -> str:
    signature = inspect.signature(method)  # type: ignore[arg-type]
    hints = get_type_hints(method)
    rows = [
        f"| `{parameter.name}` | `{_type(hints[parameter.name])}` | {_default(parameter)} |"
        for parameter in list(signature.parameters.values())[1:]
        if parameter.name != "request"  # comes from the framework, not from the client
    ]
    table = ["| argument | type | default |", "| --- | --- | --- |", *rows, ""] if rows else []
    stream = " (a stream)" if "Iterator" in str(hints["return"]) else ""
    return "\n".join([f"## /{name}{stream}", "", inspect.cleandoc(method.__doc__ or ""), "", *table])


def _type(hint: type) -> str:
    return hint.__name__ if hint.__module__ == "builtins" and not str(hint).startswith("dict[") else "dict"


def _default(parameter: inspect.Parameter) -> str:
    return "must be given" if parameter.default is inspect.Parameter.empty else f"`{parameter.default!r}`"


if __name__ == "__main__":
    print(endpoints_markdown(), end="")
