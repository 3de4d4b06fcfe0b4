"""Random numbers that stay the same on every machine and with every version of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tools.make_streets.stable_random import StableRandom


def test_a_number_is_53_bits_of_pcg64() -> None:
    rng, bits = StableRandom(5, 6), np.random.PCG64(np.random.SeedSequence((5, 6)))
    words = bits.random_raw(1024)
    assert rng.unit() == (int(words[-1]) >> 11) / 2**53


def test_the_same_entropy_gives_the_same_numbers() -> None:
    first, second = StableRandom(3, 4), StableRandom(3, 4)
    assert [first.unit() for _ in range(1500)] == [second.unit() for _ in range(1500)]
    assert np.array_equal(first.noise(5, 7), second.noise(5, 7))
    assert StableRandom(3, 5).unit() != StableRandom(3, 4).unit()


def test_integers_cover_the_half_open_range() -> None:
    rng = StableRandom(5, 6)
    assert {rng.integer(2, 5) for _ in range(100)} == {2, 3, 4}


def test_uniform_numbers_stay_in_their_range_and_fill_it() -> None:
    rng = StableRandom(0)
    numbers = [rng.uniform(-2.0, 3.0) for _ in range(2000)]
    assert -2.0 <= min(numbers) < -1.9
    assert 2.9 < max(numbers) < 3.0


def test_chance_sign_and_pick_have_their_probabilities() -> None:
    rng = StableRandom(9)
    assert sum(rng.chance(0.25) for _ in range(4000)) == pytest.approx(1000, abs=120)
    assert sum(rng.sign() for _ in range(4000)) == pytest.approx(0, abs=250)
    assert {rng.pick("abc") for _ in range(100)} == {"a", "b", "c"}
    assert not rng.chance(0.0)
    assert rng.chance(1.0)


def test_noise_is_triangular_around_zero() -> None:
    noise = StableRandom(5, 6).noise(50, 60)
    assert noise.shape == (50, 60)
    assert noise.dtype == np.float32
    assert abs(float(noise.mean())) < 0.05
    assert -1 <= noise.min() < -0.8 < 0.8 < noise.max() <= 1
    # the sum of two uniform numbers over [-1/2, 1/2] has the variance 2 / 12
    assert float(noise.var()) == pytest.approx(1 / 6, rel=0.1)


def test_negative_entropy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be negative, got \(0, -1\)"):
        StableRandom(0, -1)
