"""A convolutional network of Keras with group normalization and dropout, for the digits."""

import tensorflow as tf

layers = tf.keras.layers


def cnn(
    feature_shape: tuple[int, ...], num_classes: int, width: int = 64, dropout: float = 0.25
) -> tf.keras.Model:
    """Two convolutions and a hidden layer of `width` units; logits, no softmax at the end."""
    return tf.keras.Sequential(
        [
            layers.Input(feature_shape),
            layers.Reshape((*feature_shape, 1)),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.GroupNormalization(4),
            layers.ReLU(),
            layers.MaxPool2D(),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.GroupNormalization(4),
            layers.ReLU(),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(width, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(num_classes),
        ]
    )
