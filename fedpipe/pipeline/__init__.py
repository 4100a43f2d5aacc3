"""What the flow, the command line, a sweep's trial and DVC's stages run, as plain functions."""
