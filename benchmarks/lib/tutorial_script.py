"""TFF's tutorial "Building Your Own Federated Learning Algorithm" as a script: the other side of `benchmarks.endtoend`.

Its code, its stock runtime, nothing tracked. Only the data differ: the clients and the test set of the fedpipe run beside it, from
an .npz file, where the tutorial downloads EMNIST. `python tutorial_script.py DATA.npz RESULT.json`.
"""

# ruff: noqa: D103 - the tutorial's functions, as it has them

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

BATCH_SIZE, ROUNDS, LEARNING_RATE = 20, 15, 0.01


def preprocess(dataset):
    def batch_format_fn(element):
        return tf.reshape(element["pixels"], [-1, 784]), tf.reshape(element["label"], [-1, 1])

    return dataset.batch(BATCH_SIZE).map(batch_format_fn)


def create_dataset(pixels, labels):
    return preprocess(
        tf.data.Dataset.from_tensor_slices(
            {"pixels": pixels.astype(np.float32) / 255, "label": labels}
        )
    )


with np.load(sys.argv[1]) as data:
    clients = int(data["clients"])
    federated_train_data = [create_dataset(data[f"x{k}"], data[f"y{k}"]) for k in range(clients)]
    central_test = create_dataset(data["test_x"], data["test_y"])


def create_keras_model():
    return tf.keras.models.Sequential(
        [
            tf.keras.layers.InputLayer(input_shape=(784,)),
            tf.keras.layers.Dense(10, kernel_initializer="zeros"),
            tf.keras.layers.Softmax(),
        ]
    )


def model_fn():
    return tff.learning.models.from_keras_model(
        create_keras_model(),
        input_spec=federated_train_data[0].element_spec,
        loss=tf.keras.losses.SparseCategoricalCrossentropy(),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
    )


@tf.function
def client_update(model, dataset, server_weights, client_optimizer):
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
    model_weights = model.trainable_variables
    tf.nest.map_structure(lambda x, y: x.assign(y), model_weights, mean_client_weights)
    return model_weights


@tff.tensorflow.computation
def server_init():
    return model_fn().trainable_variables


@tff.federated_computation
def initialize_fn():
    return tff.federated_eval(server_init, tff.SERVER)


whimsy_model = model_fn()
tf_dataset_type = tff.SequenceType(tff.types.tensorflow_to_type(whimsy_model.input_spec))
model_weights_type = server_init.type_signature.result


@tff.tensorflow.computation(tf_dataset_type, model_weights_type)
def client_update_fn(tf_dataset, server_weights):
    client_optimizer = tf.keras.optimizers.SGD(learning_rate=LEARNING_RATE)
    return client_update(model_fn(), tf_dataset, server_weights, client_optimizer)


@tff.tensorflow.computation(model_weights_type)
def server_update_fn(mean_client_weights):
    return server_update(model_fn(), mean_client_weights)


@tff.federated_computation(
    tff.FederatedType(model_weights_type, tff.SERVER),
    tff.FederatedType(tf_dataset_type, tff.CLIENTS),
)
def next_fn(server_weights, federated_dataset):
    server_weights_at_client = tff.federated_broadcast(server_weights)
    client_weights = tff.federated_map(
        client_update_fn, (federated_dataset, server_weights_at_client)
    )
    mean_client_weights = tff.federated_mean(client_weights)
    return tff.federated_map(server_update_fn, mean_client_weights)


federated_algorithm = tff.templates.IterativeProcess(initialize_fn=initialize_fn, next_fn=next_fn)


def evaluate(server_state):
    keras_model = create_keras_model()
    keras_model.compile(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
    )
    keras_model.set_weights(server_state)
    loss, accuracy = keras_model.evaluate(central_test)
    return {"test/loss": loss, "test/accuracy": accuracy}


server_state = federated_algorithm.initialize()
initial = evaluate(server_state)
for _ in range(ROUNDS):
    server_state = federated_algorithm.next(server_state, federated_train_data)
final = evaluate(server_state)

with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump({"initial": initial, "final": final}, file)
