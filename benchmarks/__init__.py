"""What is measured: ratios to a baseline in the same run. Nothing here is timed in a test."""
