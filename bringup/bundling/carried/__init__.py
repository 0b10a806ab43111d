"""Files of a bundle that run on the node by themselves."""
