import numpy as np
import pytest

from fedpipe.data.preprocess.statistics import Extremes, Moments, quantiles


def clients() -> list[np.ndarray]:
    draw = np.random.default_rng(3)
    parts = [draw.normal(1e3, [1, 50, 1e-3], (size, 3)) for size in (1, 7, 400, 3, 1000)]
    parts[2][::5, 1] = np.nan
    return [part.astype(np.float32) for part in parts]


def test_statistics_of_clients_merge_to_those_of_the_pool() -> None:
    parts = clients()
    pool = np.concatenate(parts).astype(np.float64)
    moments = Moments.of(parts[0])
    extremes = Extremes.of(parts[0])
    for part in parts[1:]:
        moments = moments.merged(Moments.of(part))
        extremes = extremes.merged(Extremes.of(part))
    np.testing.assert_array_equal(moments.count, (~np.isnan(pool)).sum(axis=0))
    np.testing.assert_allclose(moments.mean, np.nanmean(pool, axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.std(), np.nanstd(pool, axis=0), rtol=1e-9)
    np.testing.assert_array_equal(extremes.low, np.nanmin(pool, axis=0))
    np.testing.assert_array_equal(extremes.high, np.nanmax(pool, axis=0))


@pytest.mark.parametrize("offset", [0.0, -1000.0])
def test_quantiles_are_numpys(offset: float) -> None:
    parts = [part + np.float32(offset) for part in clients()]
    pool = np.concatenate(parts)
    fractions = (0.0, 0.25, 0.5, 0.75, 1.0)
    counts = (~np.isnan(pool)).sum(axis=0).astype(np.float64)
    result = quantiles(lambda: parts, fractions, counts)
    expected = np.nanpercentile(pool.astype(np.float64), [100 * f for f in fractions], axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
