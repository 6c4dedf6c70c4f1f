"""One release of a cold app under load, three ways, side by side: `python -m demo`."""
