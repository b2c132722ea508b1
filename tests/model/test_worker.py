"""The model's thread computes with several processors, the others with one each."""

import threading

import torch

from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.worker import Decoder


def test_only_the_models_thread_has_several_processors(tiny_base: LanguageModel) -> None:
    before = torch.get_num_threads()
    decoder = Decoder(tiny_base, Bank(tiny_base.model), threads=3)
    try:

        def seen_elsewhere() -> int:
            counts: list[int] = []
            thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
            thread.start()
            thread.join()
            return counts[0]

        assert decoder.call(torch.get_num_threads) == 3
        assert torch.get_num_threads() == 1
        assert seen_elsewhere() == 1
        assert decoder.call(torch.get_num_threads) == 3  # what others are given is not given to it
    finally:
        decoder.close()
        torch.set_num_threads(before)
