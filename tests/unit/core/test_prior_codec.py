from __future__ import annotations

import struct
from hashlib import blake2b

import numpy as np
import pytest

from bandit_router.core.prior_codec import CorruptPrior, decode_prior, encode_prior
from bandit_router.core.projection import cosine_projection
from tests.builders_of_priors import pool_prior


def sealed(body: bytes) -> bytes:
    return body + blake2b(body, digest_size=16).digest()


@pytest.mark.parametrize("projection", [None, cosine_projection(5, 2)])
def test_a_prior_comes_back_from_its_bytes_as_it_was(projection: object) -> None:
    prior = pool_prior(projection=projection, projection_version=3, features=("hour", "vip"))
    back = decode_prior(encode_prior(prior))
    for name in ("encoder_id", "dimension", "features", "projection_version", "provenance", "context_length"):
        assert getattr(back, name) == getattr(prior, name)
    assert list(back.arms) == list(prior.arms)
    for arm_id, expected in prior.arms.items():
        assert np.array_equal(back.arms[arm_id].mean, expected.mean)
        assert np.array_equal(back.arms[arm_id].precision, expected.precision)
    assert encode_prior(back) == encode_prior(prior)


def test_every_damaged_byte_is_noticed() -> None:
    data = encode_prior(pool_prior())
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(CorruptPrior):
            decode_prior(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"BRPRIOR1", b"PK\x03\x04", encode_prior(pool_prior())[:-1]])
def test_what_is_no_prior_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptPrior):
        decode_prior(data)


@pytest.mark.parametrize("header", [b"{}", b"[]", b"null", b"{", b'{"arms":["a"],"projection":null}'])
def test_a_checksum_does_not_make_nonsense_a_prior(header: bytes) -> None:
    with pytest.raises(CorruptPrior, match="makes no sense"):
        decode_prior(sealed(b"BRPRIOR1" + struct.pack("<I", len(header)) + header))
