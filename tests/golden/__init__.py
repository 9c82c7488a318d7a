"""Golden files of translation: `formats/` has a request, a reply, a stream and a refusal as clients and providers of
each format write them; `translated/<front>_<upstream>.json` what becomes of them on their way.

    python -m tests.golden.translated        # writes them anew; then read the difference
"""
