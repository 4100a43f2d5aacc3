"""Charts of a run, a population and a sweep, as SVG."""
