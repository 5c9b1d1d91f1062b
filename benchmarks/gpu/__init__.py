"""What is to be measured on a GPU, and runs on a CPU as well: ``python -m benchmarks.gpu``."""
