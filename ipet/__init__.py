"""Integrated parameter-efficient tuning (IPET) of audio transformers."""

__version__ = "0.1.0"
