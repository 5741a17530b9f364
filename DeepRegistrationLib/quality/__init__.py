"""What is said of a result: figures, doubt, verdict and the report."""
