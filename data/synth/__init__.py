"""Generated audio in the layouts of seven datasets: ``python3 data/synthesize.py -h``."""
