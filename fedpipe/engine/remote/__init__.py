"""A run's side of TFF workers on other machines."""
