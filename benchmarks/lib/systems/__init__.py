"""The systems under comparison, one program each, all driven round by round over the same line (`line.py`)."""
