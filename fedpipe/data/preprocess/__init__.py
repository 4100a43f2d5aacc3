"""Steps of `data.preprocess`: fitted on training examples, kept in the manifest, applied to all."""
