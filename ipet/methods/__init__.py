"""Tuning methods by name: what is trained beside the head.

A new method is a module here with one registered function, and its line in the imports below.
"""

from ipet.methods import freezing, input_prompt, inserted, lora  # noqa: F401  they register themselves
from ipet.methods.budget import skeleton, solve_budget
from ipet.methods.registry import METHODS, Method, apply_method

__all__ = ["METHODS", "Method", "apply_method", "skeleton", "solve_budget"]
