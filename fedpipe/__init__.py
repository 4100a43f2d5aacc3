"""fedpipe: federated learning runs that can be trusted, compared and repeated.

The package imports nothing heavy: TensorFlow, TFF, MLflow and Prefect are imported by the modules that need them.
"""

__version__ = "0.1.0"
