"""The floor for softmax regression: a plain NumPy loop over clients, no framework, no processes, data in memory as float32."""

import numpy as np

from benchmarks.lib.systems.line import Line, read_job


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    if job.model != "softmax":
        line.skip("NumPy has no convolution")
    x = [client.reshape(len(client), -1).astype(np.float32) / np.float32(255) for client in job.x]
    one_hot = [np.eye(10, dtype=np.float32)[labels] for labels in job.y]
    test_x = job.test_x.reshape(len(job.test_x), -1).astype(np.float32) / np.float32(255)
    kernel, bias = job.weights["kernel"], job.weights["bias"]
    rate, batch = np.float32(job.learning_rate), job.batch_size

    def accuracy() -> float:
        return float(np.mean(np.argmax(test_x @ kernel + bias, axis=1) == job.test_y))

    while True:
        line.step(accuracy)
        sum_kernel, sum_bias = np.zeros_like(kernel), np.zeros_like(bias)
        for client_x, client_y in zip(x, one_hot, strict=True):
            w, b = kernel.copy(), bias.copy()
            for start in range(0, len(client_x), batch):
                batch_x, batch_y = client_x[start : start + batch], client_y[start : start + batch]
                logits = batch_x @ w + b
                odds = np.exp(logits - logits.max(axis=1, keepdims=True))
                errors = (odds / odds.sum(axis=1, keepdims=True) - batch_y) * (
                    rate / np.float32(len(batch_x))
                )
                w -= batch_x.T @ errors
                b -= errors.sum(axis=0)
            sum_kernel += w
            sum_bias += b
        kernel, bias = sum_kernel / np.float32(len(x)), sum_bias / np.float32(len(x))


if __name__ == "__main__":
    main()
