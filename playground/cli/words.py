"""Words from a shell: arguments and standard input are bytes, and only UTF-8 is text."""

import sys
from collections.abc import Sequence

from playground.errors import InvalidRequest

REMEDY = "Convert it first, for example: iconv -f LATIN1 -t UTF-8."


def check_arguments(words: Sequence[str]) -> None:
    """Raise InvalidRequest that names the first argument that was not UTF-8."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:  # Python keeps such bytes as halves of surrogate pairs
            raise InvalidRequest(f"The prompt or another argument is not UTF-8 text: {word!r}.", REMEDY) from error


def prompt_of(argument: str) -> str:
    """Return the prompt: the argument, or with `-` what standard input holds. Raise InvalidRequest unless it is UTF-8.

    Text in UTF-16 is often valid UTF-8 by accident, but holds null characters.
    """
    if argument != "-":
        return argument
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The prompt is not UTF-8 text.", REMEDY) from error
    if "\0" in text:
        raise InvalidRequest("The prompt is not UTF-8 text: it holds null characters.", REMEDY)
    return text.replace("\r\n", "\n").replace("\r", "\n")
