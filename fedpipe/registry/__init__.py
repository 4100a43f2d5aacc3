"""Registered models: promotion, registration, training again without some clients."""
