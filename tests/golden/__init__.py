"""Golden files of translation: `said/` has what clients and providers of each format write, case by case;
`translated/<front>_<upstream>.txt` what becomes of it on its way.

    python -m tests.golden.translated --update     # writes them anew; then read the difference
"""
