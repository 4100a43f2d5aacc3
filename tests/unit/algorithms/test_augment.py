from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.augment import build_augment
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.config import load_config
from fedpipe.config.augment import (
    FlipSettings,
    NoiseSettings,
    RandomCropSettings,
    problem_of_augment,
)
from fedpipe.data.resident import to_bytes
from fedpipe.errors import ConfigError
from fedpipe.models.softmax import softmax
from fedpipe.types import Examples

PARAMS = Path(__file__).parents[3] / "params.yaml"
IMAGES = np.random.default_rng(0).random((64, 5, 4), np.float32)


def changed(*settings, x=IMAGES, seed=3, step=0):
    augment = build_augment(settings)
    return augment(tf.constant(x), tf.constant(seed, tf.int64), tf.constant(step, tf.int64)).numpy()


def test_flip_mirrors_about_half_of_the_images_and_changes_no_other():
    x = changed(FlipSettings(name="flip"))
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(x, IMAGES, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(x, IMAGES, strict=True)]
    assert np.logical_xor(mirrored, same).all()
    assert 16 < sum(mirrored) < 48
    both = changed(FlipSettings(name="flip", axis="both"))
    forms = [
        [np.array_equal(a, form) for form in (b, b[:, ::-1], b[::-1], b[::-1, ::-1])]
        for a, b in zip(both, IMAGES, strict=True)
    ]
    assert (np.sum(forms, axis=1) == 1).all()
    assert (np.sum(forms, axis=0) > 4).all()


@pytest.mark.parametrize("channels", [(), (3,)])
def test_crop_shifts_by_whole_pixels(channels):
    x = np.random.default_rng(1).random((200, 5, 4, *channels)).astype(np.float32) + 1
    result = changed(RandomCropSettings(name="crop", padding=1, fill=0.5), x=x)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)][: x.ndim], constant_values=0.5)
    shifts = set()
    for image, source in zip(result, padded, strict=True):
        (shift,) = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if np.array_equal(image, source[row : row + 5, column : column + 4])
        ]
        shifts.add(shift)
    assert len(shifts) == 9


def test_noise_has_its_deviation_and_limits():
    x = np.zeros((50, 40), np.float32)
    noise = changed(NoiseSettings(name="noise", std=0.5), x=x)
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert abs(noise.mean()) < 0.03
    limited = changed(NoiseSettings(name="noise", std=0.5, low=-0.1, high=0.2), x=x)
    np.testing.assert_array_equal(limited, np.clip(noise, np.float32(-0.1), np.float32(0.2)))


def test_draws_depend_on_seed_step_and_place_alone():
    noise = NoiseSettings(name="noise", std=1.0)
    first = changed(noise)
    np.testing.assert_array_equal(first, changed(noise))
    assert not np.array_equal(first, changed(noise, step=1))
    assert not np.array_equal(first, changed(noise, seed=4))
    twice = changed(noise, noise) - IMAGES
    assert np.corrcoef((first - IMAGES).ravel(), twice.ravel())[0, 1] < 0.9


def test_client_work_trains_on_changed_examples_and_repeats():
    plain = ClientWork(
        softmax((5, 4), 2),
        build_optimizer("sgd", 1.0),
        np.dtype("float32"),
        batch_size=16,
        by_value=True,
    )
    examples = Examples(IMAGES, np.arange(64, dtype=np.int32) % 2)
    weights = [tf.constant(tensor) for tensor in plain.model.initial_weights(0).values()]

    def update(work, seed=5):
        data = tf.constant(to_bytes(examples, "c"))
        return work(weights, data, tf.constant(64, tf.int64), tf.constant(seed, tf.int64)).update[0]

    crop = build_augment([RandomCropSettings(name="crop")])
    np.testing.assert_array_equal(update(plain), update(replace(plain, augment=build_augment([]))))
    changed_work = replace(plain, augment=crop)
    np.testing.assert_array_equal(update(changed_work), update(changed_work))
    assert not np.array_equal(update(plain), update(changed_work))
    assert not np.array_equal(update(changed_work), update(changed_work, seed=6))
    # one step of the first batch, by hand
    batch = replace(changed_work, max_steps=1)
    x = crop(tf.constant(IMAGES[:16]), tf.constant(5, tf.int64), tf.constant(0, tf.int64)).numpy()
    y = np.eye(2)[examples.y[:16]]
    expected = x.reshape(16, -1).T @ (y - 0.5) / 16
    np.testing.assert_allclose(update(batch), expected, atol=1e-6)


def test_what_cannot_be_changed_is_refused():
    flip = FlipSettings(name="flip")
    noise = NoiseSettings(name="noise", std=1.0)
    assert "expected images" in str(problem_of_augment([flip], "float32", (6,)))
    assert "int32 tokens" in str(problem_of_augment([noise], "int32", (6,)))
    assert problem_of_augment([flip, noise], "uint8", (28, 28)) is None
    assert problem_of_augment([noise], "float32", (6,)) is None
    for overrides, message in (
        (["client.augment=[{name: flop}]"], "Did you mean flip"),
        (["client.augment=[{name: noise, std: 0}]"], "greater than 0"),
        (
            ["client.augment=[{name: flip}]", "algorithm.name=fedavg_reference"],
            "algorithm.name=fedavg_reference ignores it",
        ),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            load_config(PARAMS, overrides)
        assert "\n" not in str(caught.value)
