"""Federated averaging in TFF's primitives, as the tutorial "Building Your Own Federated Learning Algorithm" writes it.

What is local is a `tff.tensorflow.computation`, what moves between server and clients a `tff.federated_computation`.
Source: McMahan et al. 2017 (arXiv 1602.05629), Algorithm 1; the mean over clients is not weighted by their examples.
"""

import tensorflow as tf
import tensorflow_federated as tff


def create_keras_model(pixels, classes):
    """Return softmax regression that starts at zero."""
    return tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer((pixels,)),
            tf.keras.layers.Dense(classes, kernel_initializer="zeros"),
            tf.keras.layers.Softmax(),
        ]
    )


@tf.function
def client_update(model, dataset, server_weights, client_optimizer):
    """Return a client's weights: from the server's weights a step of the optimizer for each batch."""
    client_weights = model.trainable_variables
    tf.nest.map_structure(lambda x, y: x.assign(y), client_weights, server_weights)
    for batch in dataset:
        with tf.GradientTape() as tape:
            outputs = model.forward_pass(batch)
        grads = tape.gradient(outputs.loss, client_weights)
        client_optimizer.apply_gradients(zip(grads, client_weights, strict=True))
    return client_weights


@tf.function
def server_update(model, mean_client_weights):
    """Return the server's weights: the mean of the clients'."""
    model_weights = model.trainable_variables
    tf.nest.map_structure(lambda x, y: x.assign(y), model_weights, mean_client_weights)
    return model_weights


def build(run):
    """Return the `tff.templates.IterativeProcess`; its state is the weights.

    Its clients take pixels as float32[?,784] and labels as int32[?,1]: fedpipe makes them so.
    """
    pixels = 784
    batch = (tf.TensorSpec([None, pixels], tf.float32), tf.TensorSpec([None, 1], tf.int32))

    def model_fn():
        return tff.learning.models.from_keras_model(
            create_keras_model(pixels, run.model.num_classes),
            input_spec=batch,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
        )

    @tff.tensorflow.computation
    def server_init():
        return model_fn().trainable_variables

    dataset_type = tff.SequenceType(tff.types.tensorflow_to_type(batch))
    weights_type = server_init.type_signature.result

    @tff.tensorflow.computation(dataset_type, weights_type)
    def client_update_fn(dataset, server_weights):
        optimizer = tf.keras.optimizers.SGD(learning_rate=run.config.client.learning_rate)
        return client_update(model_fn(), dataset, server_weights, optimizer)

    @tff.tensorflow.computation(weights_type)
    def server_update_fn(mean_client_weights):
        return server_update(model_fn(), mean_client_weights)

    @tff.federated_computation
    def initialize_fn():
        return tff.federated_eval(server_init, tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(weights_type, tff.SERVER), tff.FederatedType(dataset_type, tff.CLIENTS)
    )
    def next_fn(server_weights, federated_dataset):
        server_weights_at_client = tff.federated_broadcast(server_weights)
        client_weights = tff.federated_map(
            client_update_fn, (federated_dataset, server_weights_at_client)
        )
        mean_client_weights = tff.federated_mean(client_weights)
        return tff.federated_map(server_update_fn, mean_client_weights)

    return tff.templates.IterativeProcess(initialize_fn, next_fn)
