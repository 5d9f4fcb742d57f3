"""One package per protocol; they share only ``web``."""
