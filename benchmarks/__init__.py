"""Side by side with peers: `python -m benchmarks [NAME ...]`. No figure is written into code."""
