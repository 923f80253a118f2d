"""`python -m bench.lab.shapes DIRECTORY [NAME ...]` writes shapes (all, by default), each under its name."""

import sys
from pathlib import Path

from bench.lab.shapes import SHAPES, make_shape

for name in sys.argv[2:] or SHAPES:
    print(make_shape(name, Path(sys.argv[1]) / name))
