"""Recipes for the two small backbones in ``pretrained_models/``, and the generated sound they learn from."""
