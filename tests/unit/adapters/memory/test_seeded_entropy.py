"""SeededEntropy: a stream fixed by its seed."""

from __future__ import annotations

from bandit_router.adapters.memory import SeededEntropy


def test_the_same_seed_gives_the_same_bytes():
    assert [SeededEntropy(7).token_bytes(16)] * 3 == [SeededEntropy(7).token_bytes(16) for _ in range(3)]


def test_different_seeds_give_different_bytes():
    assert SeededEntropy(7).token_bytes(16) != SeededEntropy(8).token_bytes(16)


def test_a_stream_does_not_repeat():
    entropy = SeededEntropy(7)
    assert len({entropy.token_bytes(16) for _ in range(1000)}) == 1000


def test_any_number_of_bytes_can_be_had():
    assert [len(SeededEntropy(7).token_bytes(n)) for n in (0, 1, 64, 65, 1000)] == [0, 1, 64, 65, 1000]
