"""A study: methods under the same conditions and seeds, and how sure a difference between them
is."""
