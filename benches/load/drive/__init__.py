"""The parts of load.py."""
