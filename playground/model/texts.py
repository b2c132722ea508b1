"""Turn token ids into texts, one for each token, that join to the whole text.

A character may need several tokens, and a decoder may drop the space before a first word. A token alone has no text
therefore: it has the text that it completes after the tokens before it. A token that completes nothing has an empty
text.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

BROKEN = "\ufffd"  # what a decoder writes for bytes that are no character, or none yet
LONGEST = 4  # tokens that one character can need: it has at most four bytes
KEPT = range(8, 13)  # tokens that are kept as context: five counts, so that one begins at a character of three bytes
WINDOW = 16  # tokens after which the context is cut to what is kept
MOST = 64  # tokens after which it is cut in any case


class TextStream:
    """Turn token ids into text as they come. Bytes that do not make a character yet are held back.

    Each token is decoded after some tokens before it, so a long text costs no more for each token than a short one.
    `specials` says whether special tokens have a text.
    """

    def __init__(self, tokenizer: Any, *, specials: bool = False) -> None:
        self.tokenizer = tokenizer
        self.specials = specials
        self.text = ""
        self._named = frozenset(tokenizer.all_special_ids)
        self._window: list[int] = []
        self._told = 0  # characters of the window's text that were returned
        self._held = 0  # tokens since a character was left unfinished

    def push(self, token_id: int) -> str:
        """Return the text that `token_id` completes. It is empty while a character is unfinished."""
        whole = decoded(self.tokenizer, [*self._window, token_id], specials=self.specials)
        self._window.append(token_id)
        self._held = self._held + 1 if whole.endswith(BROKEN) else 0
        end = self._end(whole, self._held)
        piece = whole[self._told : end]
        self._told = max(self._told, end)
        self.text += piece
        if len(self._window) >= WINDOW:
            self._cut(whole)
        return piece

    def peek(self, token_id: int) -> str:
        """Return the text that `token_id` would complete as the next token. A special token has its name."""
        if token_id in self._named:
            return decoded(self.tokenizer, [token_id], specials=True)
        whole = decoded(self.tokenizer, [*self._window, token_id], specials=self.specials)
        return whole[self._told : self._end(whole, self._held + 1)]

    @staticmethod
    def _end(whole: str, held: int) -> int:
        """Return where the finished part of `whole` ends.

        The last characters may be a beginning of one. After `held` tokens that finish none, only the last one may.
        """
        if not whole.endswith(BROKEN):
            return len(whole)
        return len(whole) - 1 if held >= LONGEST else len(whole.rstrip(BROKEN))

    def _cut(self, whole: str) -> None:
        """Shorten the context where that leaves the rest of `whole` as it is."""
        waiting = len(whole) - self._told
        is_long = len(self._window) >= MOST
        if waiting and not is_long:
            return
        for count in KEPT:
            rest = decoded(self.tokenizer, self._window[-count:], specials=self.specials)
            if is_long or (rest.strip() and whole.endswith(rest)):
                self._window, self._told = self._window[-count:], max(0, len(rest) - waiting)
                return


def decoded(tokenizer: Any, ids: Sequence[int], *, specials: bool = True) -> str:
    """Return the text of `ids` as it was written: a decoder that tidies spaces would lose some."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=not specials, clean_up_tokenization_spaces=False))


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the text of each token of `ids`, special ones included. They join to the text of all."""
    whole = decoded(tokenizer, ids)
    alone = {token: decoded(tokenizer, [token]) for token in set(ids)}
    texts = [alone[token] for token in ids]
    if "".join(texts) == whole:
        return texts
    stream = TextStream(tokenizer, specials=True)
    ends = list(accumulate(len(stream.push(token)) for token in ids))[:-1]
    return [whole[start:end] for start, end in pairwise([0, *ends, len(whole)])]


def prompt_texts(
    tokenizer: Any, ids: Sequence[int], prompt: str, frame: tuple[int, int]
) -> tuple[list[str], tuple[int, int]]:
    """Return the text of each token of a prompt in its chat template, and (first, end) of the visitor's own tokens.

    `frame` is how many tokens the template puts before and after a prompt. A token may hold the last character of the
    template and the first of the prompt. Its text is then the prompt's part, and its neighbour has the other.
    """
    texts = token_texts(tokenizer, ids)
    first, end = frame[0], len(texts) - frame[1]
    whole, near = "".join(texts), len("".join(texts[:first]))
    for words in (prompt, prompt.strip()):  # many templates strip a prompt
        if "".join(texts[first:end]) == words:
            break
        found = _nearest(whole, words, near)
        if found >= 0:
            return _framed(texts, found, found + len(words), first)
    return texts, (first, end)


def _nearest(whole: str, words: str, near: int) -> int:
    """Return where `words` begins in `whole`, as near to `near` as it does, or -1."""
    after, before = whole.find(words, near), whole.rfind(words, 0, near + len(words))
    return min((at for at in (before, after) if at >= 0), key=lambda at: abs(at - near), default=-1)


def _framed(texts: Sequence[str], start: int, stop: int, least: int) -> tuple[list[str], tuple[int, int]]:
    """Return `texts` cut anew so that the tokens from first to end hold just the characters `start` to `stop`.

    Tokens without a text before the first one are the prompt's too, but none before `least`.
    """
    ends = list(accumulate(map(len, texts)))
    first = next(i for i, at in enumerate(ends) if at > start)
    end = next(i for i, at in enumerate(ends) if at >= stop) + 1
    while first > least and not texts[first - 1]:
        first -= 1  # the beginnings of the first character
    cuts = [0, *ends]
    # With no template before the prompt, a space that the tokenizer put there is left out: nobody wrote it.
    cuts[first:] = [max(at, start) for at in cuts[first:]]
    if end < len(texts):
        cuts[end] = stop
    whole = "".join(texts)
    return [whole[a:b] for a, b in pairwise(cuts)], (first, end)
