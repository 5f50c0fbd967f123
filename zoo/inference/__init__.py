"""Running models: Predictor, batching, measuring."""
