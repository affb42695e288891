"""``python -m tools.wordnet``."""

import sys

from tools.wordnet.lexicon import main

main(*sys.argv[1:])
