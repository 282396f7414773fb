"""``python -m funcad.examples.char_transformer``."""

import sys

from funcad.examples.char_transformer.cli import main

sys.exit(main())
