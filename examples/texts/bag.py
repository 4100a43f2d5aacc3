"""The model: words are embedded, their mean goes through one hidden layer."""

import tensorflow as tf


def build(
    feature_shape: tuple[int, ...], num_classes: int, tokens: int = 2000, width: int = 32
) -> tf.keras.Model:
    """Return the model for sequences of words; 0 is padding and counts for nothing.

    Args:
        feature_shape: (words of the longest text,).
        num_classes: subjects.
        tokens: words of the vocabulary, with padding and the unknown word.
        width: of the embedding and the hidden layer.
    """
    words = tf.keras.Input(feature_shape, dtype="int32")
    embedded = tf.keras.layers.Embedding(tokens, width, mask_zero=True)(words)
    mean = tf.keras.layers.GlobalAveragePooling1D()(embedded)
    hidden = tf.keras.layers.Dense(width, activation="relu")(mean)
    return tf.keras.Model(words, tf.keras.layers.Dense(num_classes)(hidden))
