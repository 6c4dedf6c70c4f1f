"""What the operator costs, as figures, measured on a real control plane in a box: `python -m bench`.

| file | subject |
|---|---|
| `spread.py`, `figure.py`, `table.py` | what a figure is: pure arithmetic and words |
| `audit.py`, `scrape.py` | who asked the API server for what; the operator's own metrics |
| `testbed.py`, `workload.py`, `connection.py` | the box with the operator in it, what runs there, plain requests |
| `passages.py` | from a recorded timeline to how long each door kept a pod |
| `line.py` | the line of a ramp, and what the rates around a mark are |
| `ways/` | everything that carries weights, with those who obey it |
| `measurements/` | one file a measurement; each yields figures |
"""
