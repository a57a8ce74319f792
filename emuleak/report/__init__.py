"""The frozen report and its writers, one a format."""
