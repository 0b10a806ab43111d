"""A whole target in parts: written where there is a network, installed where there is none."""
