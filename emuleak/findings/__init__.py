"""Detectors: from the log of a run to findings."""
