from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import pytest

from bandit_router.adapters.encoding import StaticEncoder
from bandit_router.adapters.encoding.static import MAX_CHARACTERS, MAX_TOKENS, load_table
from bandit_router.ports.encoder import EncoderUnavailable

MAX_DATA_BYTES = 4_000_000


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return StaticEncoder()


def test_shipped_files_match_their_checksums_and_stay_small() -> None:
    data = resources.files("bandit_router.adapters.encoding").joinpath("data")
    listed = dict(reversed(line.split("  ")) for line in data.joinpath("SHA256SUMS").read_text().splitlines())
    contents = {name: data.joinpath(name).read_bytes() for name in listed}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} == listed
    assert {"static.npz", "tokenizer.json"} == set(listed)
    assert sum(map(len, contents.values())) <= MAX_DATA_BYTES


def test_batches_agree_with_singles_bit_for_bit(encoder: StaticEncoder) -> None:
    texts = ["one", "two words", "three words here", "", "and a longer sentence, with punctuation!"]
    singles = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.array_equal(encoder.encode(texts), singles)


def test_letter_case_does_not_matter(encoder: StaticEncoder) -> None:
    assert np.array_equal(encoder.encode(["Paris In SPRING"]), encoder.encode(["paris in spring"]))


def test_text_beyond_the_character_limit_is_ignored(encoder: StaticEncoder) -> None:
    read = "capital cities " * (MAX_CHARACTERS // 15 + 1)
    assert np.array_equal(encoder.encode([read]), encoder.encode([read[:MAX_CHARACTERS] + " prime numbers" * 100]))


def test_tokens_beyond_the_token_limit_are_ignored(encoder: StaticEncoder) -> None:
    read = "? " * MAX_TOKENS
    assert len(read) < MAX_CHARACTERS
    assert np.array_equal(encoder.encode([read]), encoder.encode([read + "prime numbers"]))


def test_markers_of_the_tokenizer_carry_no_meaning(encoder: StaticEncoder) -> None:
    assert not encoder.encode(["[CLS] [SEP] [PAD] [MASK] [UNK]"]).any()


def test_leading_coordinates_carry_more_than_trailing_ones(encoder: StaticEncoder) -> None:
    topics = ["sort a list in python", "boil an egg", "prove the theorem", "translate into french", "symptoms of flu"]
    energy = (encoder.encode(topics) ** 2).sum(axis=0)
    half = encoder.dimension // 2
    assert energy[:half].sum() > 1.5 * energy[half:].sum()


@pytest.mark.parametrize("content", [b"", b"not a table", b"PK\x03\x04 nor this"])
def test_unreadable_table_is_reported(content: bytes) -> None:
    with pytest.raises(EncoderUnavailable, match="reinstall"):
        load_table(content)
