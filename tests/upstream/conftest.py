from tests.support.fixtures import clean_upstream, upstream

__all__ = ["clean_upstream", "upstream"]
