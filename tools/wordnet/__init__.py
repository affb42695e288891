"""Making ``gates/data/lexicon/*.txt`` from WordNet: ``python -m tools.wordnet DICT FOLDER``."""
