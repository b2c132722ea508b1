"""Read the licence off a model card: a README whose first lines stand between two lines of three dashes."""

FENCE = "---"
OTHER = "other"  # on the hub: the licence has a name of its own, in license_name
MAX_LICENCE = 60
NOTHING = ("null", "~", "|", ">", "|-", ">-")  # no value, or one that begins on the next line


def licence_of(readme: str) -> str:
    """Return the licence or licences that a model card names, with commas between. Empty when it names none."""
    fields = _front(readme)
    licences = fields.get("license", [])
    if [licence.lower() for licence in licences] == [OTHER]:
        licences = fields.get("license_name", licences)
    return ", ".join(licence[:MAX_LICENCE] for licence in licences if licence.isprintable())


def _front(readme: str) -> dict[str, list[str]]:
    """Return the fields at the head of a model card, each with its values. Every line is looked at once."""
    lines = readme.removeprefix("\ufeff").lstrip().splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        return {}
    fields: dict[str, list[str]] = {}
    last: list[str] = []
    for line in lines[1:]:
        if line.rstrip() == FENCE:
            return fields
        if line.lstrip().startswith("- "):
            last += _values(line.lstrip()[2:])
        elif line[:1].strip():  # a field begins; lines further in continue another
            key, _, value = line.partition(":")
            last = fields.setdefault(key.rstrip(), [])
            last += _values(value)
    return {}  # the head never ends


def _values(text: str) -> list[str]:
    """Return what stands after a colon or a dash: one value, or those of a list in brackets."""
    text = text.partition(" #")[0].strip()
    parts = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    values = (part.strip().strip("\"'").strip() for part in parts)
    return [value for value in values if value and value not in NOTHING]
