from __future__ import annotations

import json
import struct
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior_codec import CorruptPrior, decode_prior, encode_prior
from bandit_router.core.projection import cosine_projection
from tests.builders_of_priors import pool_prior, relative_prior


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


def body_of(prior: PoolPrior, **changes: object) -> bytes:
    """The bytes of a prior whose header says something else, checksum and all."""
    data = encode_prior(prior)[:-16]
    (length,) = struct.unpack("<I", data[8:12])
    text = json.dumps({**json.loads(data[12 : 12 + length]), **changes}).encode()
    return sealed(data[:8] + struct.pack("<I", len(text)) + text + data[12 + length :])


@pytest.mark.parametrize("projection", [None, cosine_projection(5, 2)])
def test_relative_parts_come_back_as_they_were(projection: object) -> None:
    prior = relative_prior(projection=projection)
    back = decode_prior(encode_prior(prior))
    assert np.array_equal(back.shared, prior.shared)  # type: ignore[arg-type]
    for arm_id, expected in prior.arms.items():
        found = back.arms[arm_id]
        assert np.array_equal(found.mean, expected.mean)
        assert np.array_equal(found.precision, expected.precision)
        assert (found.relative is None) == (expected.relative is None)
        if found.relative is not None and expected.relative is not None:
            assert np.array_equal(found.relative.mean, expected.relative.mean)
            assert np.array_equal(found.relative.precision, expected.relative.precision)
    assert encode_prior(back) == encode_prior(prior)


def test_only_a_prior_with_relative_parts_is_written_in_the_format_that_has_them() -> None:
    plain, relative = encode_prior(pool_prior()), encode_prior(relative_prior())
    assert plain.startswith(b"BRPRIOR1")
    assert b"relative" not in plain
    assert blake2b(plain).hexdigest()[:32] == "e7bdf5e572ef52d1ad374841ab9c683c"
    assert relative.startswith(b"BRPRIOR2")


def test_a_format_of_newer_code_is_refused_as_that() -> None:
    with pytest.raises(CorruptPrior, match="newer code wrote it"):
        decode_prior(sealed(b"BRPRIOR3" + encode_prior(pool_prior())[8:-16]))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"relative": ["small", "nobody"]}, "arms that have no prior: nobody"),
        ({"relative": ["small"]}, "numbers where arms and relative parts have"),
        ({"relative": ["small", "large", "scored"]}, "numbers where arms and relative parts have"),
        ({"relative": []}, "numbers where arms and relative parts have"),
        ({"relative": None}, "makes no sense"),
    ],
)
def test_relative_parts_that_do_not_fit_the_arms_are_refused(changes: dict[str, object], rule: str) -> None:
    with pytest.raises(CorruptPrior, match=rule):
        decode_prior(body_of(relative_prior(), **changes))


def test_relative_parts_of_one_prior_share_one_error() -> None:
    prior = relative_prior()
    part = prior.arms["small"].relative
    assert part is not None
    other = replace(part, shared=2.0 * part.shared).alone()
    with pytest.raises(ValueError, match="same shared covariance"):
        relative_prior(arms={**prior.arms, "small": other})
